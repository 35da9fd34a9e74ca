"""The frozen text tower, fed with prompt vectors instead of a template's tokens."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..class_names.equal_prompts import warn_of_equal_prompts
from ..clip.towers import ClipTowers, HoldsClipTowers
from .class_shards import gather_shards, my_share

ACTIVATION_BYTES = 2**30
"""With ``class_chunk='auto'``: what a call may keep for the backward pass; else it recomputes."""

CHUNK_BYTES = 2**28
"""With ``class_chunk='auto'``: about what one recomputed chunk keeps."""


class PromptTextEncoder(HoldsClipTowers, BaseModule):
    """Encodes ``[SOS] context tokens(class name) [EOT]`` for learnable contexts.

    Exact, and no position is computed twice: the tower is causal, so it stops at [EOT], classes of
    one length are encoded together, and what stands before the first class-specific token ([SOS],
    and a context that all classes share) is run once, for its keys and values.

    Args:
        towers (ClipTowers): The frozen CLIP.
        class_names (Sequence[str]): Underscores count as spaces, as in the field's prompts, unless
            ``keep_underscores``.
        context_length (int): M, the context tokens of a prompt.
        class_chunk (int | str, optional): Classes that are encoded at a time, each chunk once more
            in the backward pass, so that memory does not grow with their number. ``'auto'``: as
            many as keep :data:`CHUNK_BYTES`, and no recomputation where everything keeps at most
            :data:`ACTIVATION_BYTES`. None: never recompute. Defaults to 'auto'.

    Raises:
        ValueError: A class name does not fit into the tower's context, or ``class_chunk`` is not
            positive.
    """

    def __init__(
        self,
        towers: ClipTowers,
        class_names: Sequence[str],
        context_length: int,
        class_chunk: int | str | None = 'auto',
        keep_underscores: bool = False,
    ):
        super().__init__()
        if class_chunk not in ('auto', None) and (type(class_chunk) is not int or class_chunk < 1):
            raise ValueError(
                f"class_chunk={class_chunk!r}: expected a positive number of classes, 'auto' or "
                'None (never recompute)'
            )
        self.towers = towers
        self.context_length = context_length
        self.class_chunk = class_chunk
        self.keep_underscores = keep_underscores
        texts = [name if keep_underscores else name.replace('_', ' ') for name in class_names]
        tokens = [towers.text.tokenizer.encode(text) for text in texts]
        warn_of_equal_prompts(class_names, tokens)
        self._check_lengths(class_names, tokens)
        eot = towers.text.tokenizer.eot_token_id
        lengths = torch.tensor([len(ids) + 1 for ids in tokens])
        padded = [ids + [eot] * (int(lengths.max()) - len(ids)) for ids in tokens]
        self.lengths = lengths.tolist()
        by_length = sorted(range(len(tokens)), key=self.lengths.__getitem__)
        self._by_length = by_length
        # the same for indexing, where the tensors are: a list would be copied there every time
        self.register_buffer('by_length', torch.tensor(by_length), persistent=False)
        # behind [SOS] and context: the name and [EOT]; what pads is behind [EOT], and never run
        self.register_buffer('suffix_tokens', torch.tensor(padded), persistent=False)

    def forward(self, context: Tensor) -> Tensor:
        """Text features of prompts.

        In distributed training every process encodes its share of the classes and gets all
        features (gradients too go through the exchange); all must then make the same calls.

        Args:
            context: (C, n, M, d), n contexts for each class, or (n, M, d), shared by all classes.

        Returns:
            Tensor: (C, n, D), not normalised.
        """
        with_grad = torch.is_grad_enabled() and context.requires_grad
        share = my_share(len(self.lengths)) if with_grad and self.training else None
        mine = slice(None) if share is None else share
        index = self.by_length[mine]
        features = self._encode(context, self._by_length[mine], index, with_grad)
        if share is None:
            return features[index.argsort()]
        return gather_shards(features, index, len(self.lengths))

    def _encode(
        self, context: Tensor, classes: list[int], index: Tensor, with_grad: bool
    ) -> Tensor:
        """(len(classes), n, D) of classes sorted by length; ``index``: the same as a tensor."""
        tower = self.towers.text
        first, own = tower.embed_start(), None
        if context.ndim == 3:
            first = torch.cat([first.expand(len(context), -1, -1), context], dim=1)
        else:
            own = context[index]
        prefix = tower.run_prefix(first)
        suffixes = self.suffix_tokens[index]
        recompute, chunks = self._chunks(classes, context.shape[-3], own is not None, with_grad)
        features = []
        for chunk in chunks:
            tokens = [
                suffixes[start:stop, : self.lengths[classes[start]]] for start, stop in chunk
            ]
            contexts = None if own is None else [own[start:stop] for start, stop in chunk]
            encode: Callable = self._encode_chunk
            if recompute:
                # the frozen tower draws nothing, so there is no random state to keep
                options = dict(use_reentrant=False, preserve_rng_state=False)
                encode = partial(checkpoint, self._encode_chunk, **options)
            features.append(encode(tokens, contexts, prefix))
        return torch.cat(features)

    def _encode_chunk(
        self, tokens: list[Tensor], contexts: list[Tensor] | None, prefix: list
    ) -> Tensor:
        """Token ids (c, T) of classes of one length, for several lengths -> (sum of c, n, D)."""
        tower = self.towers.text
        groups = []
        for index, ids in enumerate(tokens):
            x = tower.embed(ids)[:, None]
            if contexts is None:
                x = x.expand(-1, len(prefix[0][0]), -1, -1)
            else:
                context = contexts[index]
                x = torch.cat([context, x.expand(-1, context.shape[1], -1, -1)], dim=2)
            groups.append(x)
        return tower.run_suffix(groups, prefix)

    def _chunks(
        self, classes: list[int], num_prompts: int, own_context: bool, with_grad: bool
    ) -> tuple[bool, list[list[tuple[int, int]]]]:
        """Whether to recompute; for each chunk, ranges of ``classes`` of one length."""
        before = self.context_length if own_context else 0
        lengths = [self.lengths[c] for c in classes]
        cost = self.towers.text.activation_bytes
        costs = [cost(num_prompts * (before + length)) for length in lengths]
        limit = self.class_chunk
        if isinstance(limit, str):  # 'auto'
            recompute = with_grad and sum(costs) > ACTIVATION_BYTES
            limit = None if with_grad and not recompute else max(CHUNK_BYTES // max(costs), 1)
        else:
            recompute = with_grad and limit is not None and limit < len(classes)
        step = limit or len(classes)
        bounds = range(0, len(classes), step)
        return recompute, [_ranges(lengths, b, min(b + step, len(classes))) for b in bounds]

    def _check_lengths(self, class_names: Sequence[str], tokens: list[list[int]]) -> None:
        room = self.towers.text.context_length - self.context_length - 2  # [SOS] and [EOT]
        for name, ids in zip(class_names, tokens):
            if len(ids) > room:
                raise ValueError(
                    f'The class name {name!r} takes {len(ids)} tokens, but behind '
                    f'{self.context_length} context tokens there is room for {room}; shorten '
                    'the name'
                )


def _ranges(lengths: list[int], start: int, stop: int) -> list[tuple[int, int]]:
    """Cut ``start`` to ``stop`` of sorted ``lengths`` where they change."""
    cuts = [i for i in range(start + 1, stop) if lengths[i] != lengths[i - 1]]
    return list(zip([start, *cuts], [*cuts, stop]))
