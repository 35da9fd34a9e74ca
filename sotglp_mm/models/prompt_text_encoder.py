"""The frozen text tower fed with prompt vectors, and its features, kept while prompts stay."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, chain, groupby
from typing import Any

import torch
from mmengine.model import BaseModule
from torch import Tensor

from ..class_names.resolve import warn_of_equal_prompts
from ..clip.text_tower import KeysAndValues
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
        # the longest first: what the next ones need then fits where these have been
        by_length = sorted(range(len(tokens)), key=self.lengths.__getitem__, reverse=True)
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
        first = self.towers.text.embed_start()
        if context.ndim == 3:
            first = torch.cat([first.expand(len(context), -1, -1), context], dim=1)
        prefix = self.towers.text.run_prefix(first)
        lengths = [self.lengths[c] for c in classes]
        recompute, chunks = self._chunks(lengths, context.shape[-3], context.ndim == 4, with_grad)
        encode = partial(self._encode_chunk, lengths, index)
        own = context if context.ndim == 4 else None
        if recompute:
            return _Recomputed.apply(encode, chunks, index, own, *chain.from_iterable(prefix))
        return _encode_all(encode, chunks, index, own, prefix)

    def _encode_chunk(
        self,
        lengths: list[int],
        index: Tensor,
        chunk: slice,
        own: Tensor | None,
        prefix: list[KeysAndValues],
    ) -> Tensor:
        """(c, n, D) of the classes ``chunk``; ``own``: their contexts, unless all share one."""
        tower, lengths = self.towers.text, lengths[chunk]
        groups, start = [], 0
        for length, same in groupby(lengths):
            stop = start + len(list(same))
            x = tower.embed(self.suffix_tokens[index[chunk][start:stop], :length])[:, None]
            if own is None:
                x = x.expand(-1, len(prefix[0][0]), -1, -1)
            else:
                x = torch.cat([own[start:stop], x.expand(-1, own.shape[1], -1, -1)], dim=2)
            groups.append(x)
            start = stop
        return tower.run_suffix(groups, prefix)

    def _chunks(
        self, lengths: list[int], num_prompts: int, own_context: bool, with_grad: bool
    ) -> tuple[bool, list[slice]]:
        """Whether to recompute, and the slices of classes that are encoded at a time."""
        before = self.context_length if own_context else 0
        cost = self.towers.text.activation_bytes
        costs = [cost(num_prompts * (before + length)) for length in lengths]
        if isinstance(self.class_chunk, str):  # 'auto'
            recompute = with_grad and sum(costs) > ACTIVATION_BYTES
            marks = [total // CHUNK_BYTES for total in accumulate(costs)]
        else:
            step = self.class_chunk or len(lengths)
            recompute = with_grad and step < len(lengths)
            marks = [number // step for number in range(len(lengths))]
        if with_grad and not recompute:
            marks = [0] * len(lengths)
        ends = [i for i in range(1, len(marks)) if marks[i] != marks[i - 1]]
        return recompute, list(map(slice, [0, *ends], [*ends, len(marks)]))

    def _check_lengths(self, class_names: Sequence[str], tokens: list[list[int]]) -> None:
        room = self.towers.text.context_length - self.context_length - 2  # [SOS] and [EOT]
        for name, ids in zip(class_names, tokens):
            if len(ids) > room:
                raise ValueError(
                    f'The class name {name!r} takes {len(ids)} tokens, but behind '
                    f'{self.context_length} context tokens there is room for {room}; shorten '
                    'the name'
                )


def _encode_all(
    encode: Callable,
    chunks: list[slice],
    index: Tensor,
    context: Tensor | None,
    prefix: list[KeysAndValues],
) -> Tensor:
    """Features of all chunks; ``context`` (C, n, M, d), unless the prefix has it."""
    owns = (None if context is None else context[index[chunk]] for chunk in chunks)
    return torch.cat([encode(chunk, own, prefix) for chunk, own in zip(chunks, owns)])


class _Recomputed(torch.autograd.Function):
    """Encodes chunks without a graph, and each once more in the backward pass.

    ``torch.utils.checkpoint`` makes the nodes of a graph in both passes: small objects that lie
    scattered where the next chunk's large tensors should go, so that these go elsewhere. With
    1000 classes the heap grew by more than a GB.
    """

    @staticmethod
    def forward(
        ctx: Any,
        encode: Callable,
        chunks: list[slice],
        index: Tensor,
        context: Tensor | None,
        *prefix: Tensor,
    ) -> Tensor:
        device = index.device.type
        ctx.autocast = dict(
            device_type=device,
            dtype=torch.get_autocast_dtype(device),
            enabled=torch.is_autocast_enabled(device),
        )
        ctx.encode, ctx.chunks = encode, chunks
        ctx.save_for_backward(index, context, *prefix)
        return _encode_all(encode, chunks, index, context, _in_pairs(prefix))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        index, context, *prefix = ctx.saved_tensors
        learned = ctx.needs_input_grad[4:]
        prefix = [t.detach().requires_grad_(learns) for t, learns in zip(prefix, learned)]
        own: Any = None
        of_context = None if context is None else torch.zeros_like(context)
        for chunk in ctx.chunks:
            if context is not None:
                own = context.detach()[index[chunk]].requires_grad_()
            with torch.enable_grad(), torch.autocast(**ctx.autocast):
                features = ctx.encode(chunk, own, _in_pairs(prefix))
            features.backward(grad[chunk])
            if of_context is not None:
                of_context[index[chunk]] = own.grad
        return None, None, None, of_context, *(t.grad for t in prefix)


def _in_pairs(flat: Sequence[Tensor]) -> list[KeysAndValues]:
    return list(zip(flat[::2], flat[1::2]))


class TextFeatureCache:
    """Keeps what an encoder made of prompts, and a copy of the prompts to compare with.

    Comparing values costs far less than encoding, and notices every change: an optimiser's step, a
    loaded checkpoint, the swap of an EMA hook (which no version counter sees).
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._kept: tuple[tuple, Tensor, Tensor] | None = None

    # what is kept may be used beside a gradient later, so it must be no inference tensor
    @torch.inference_mode(False)
    @torch.no_grad()
    def get(self, encode: Callable[[Tensor], Tensor], prompts: Tensor) -> Tensor:
        """Features of ``prompts``, encoded if anything changed; without a gradient."""
        device = prompts.device.type
        autocast = torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)
        state = prompts.device, prompts.dtype, autocast
        if self._kept is None or self._kept[0] != state or not torch.equal(self._kept[1], prompts):
            self._kept = state, prompts.detach().clone(), encode(prompts)
        return self._kept[2]
