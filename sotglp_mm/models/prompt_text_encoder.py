"""The frozen text tower, fed with prompt vectors instead of a template's tokens."""

from collections.abc import Sequence

import torch
from mmengine.model import BaseModule
from torch import Tensor

from .clip_towers import ClipTowers, HoldsClipTowers


class PromptTextEncoder(HoldsClipTowers, BaseModule):
    """Encodes ``[SOS] context tokens(class name) [EOT]`` for learnable contexts.

    The tower is causal, so nothing behind [EOT] changes what is read there: it runs over as many
    positions as the longest class needs, not over CLIP's 77.

    Args:
        towers (ClipTowers): The frozen CLIP.
        class_names (Sequence[str]): Underscores count as spaces, as in the field's prompts.
        context_length (int): M, the context tokens of a prompt.

    Raises:
        ValueError: A class name does not fit into the tower's context.
    """

    def __init__(self, towers: ClipTowers, class_names: Sequence[str], context_length: int):
        super().__init__()
        self.towers = towers
        tokens = [towers.tokenizer.encode(name.replace('_', ' ')) for name in class_names]
        self._check_lengths(class_names, tokens, context_length)
        eot = towers.tokenizer.eot_token_id
        length = max(map(len, tokens)) + 1
        padded = [ids + [eot] * (length - len(ids)) for ids in tokens]
        # behind [CLS] and context: the name and [EOT]; what pads is behind [EOT], hence unread
        self.register_buffer('suffix_tokens', torch.tensor(padded), persistent=False)
        eot_positions = torch.tensor([1 + context_length + len(ids) for ids in tokens])
        self.register_buffer('eot_positions', eot_positions, persistent=False)

    def forward(self, context: Tensor) -> Tensor:
        """Text features of prompts.

        Args:
            context: (C, n, M, d), n contexts for each class, or (n, M, d), shared by all classes.

        Returns:
            Tensor: (C, n, D), not normalised.
        """
        clip = self.towers.clip
        num_classes = len(self.suffix_tokens)
        if context.ndim == 3:
            context = context.expand(num_classes, *context.shape)
        num_prompts = context.shape[1]

        x = self._embed(context).flatten(0, 1)
        x = x + clip.positional_embedding[: x.shape[1]]
        x = clip.transformer(x, attn_mask=clip.attn_mask[: x.shape[1], : x.shape[1]])
        eot = self.eot_positions.repeat_interleave(num_prompts)
        x = x[torch.arange(len(x), device=x.device), eot]
        return (clip.ln_final(x) @ clip.text_projection).unflatten(0, (num_classes, num_prompts))

    def _embed(self, context: Tensor) -> Tensor:
        """(C, n, M, d) contexts -> (C, n, length, d) embedded prompts, without positions."""
        clip = self.towers.clip
        num_classes, num_prompts = context.shape[:2]
        sos = clip.token_embedding.weight[self.towers.tokenizer.sot_token_id]
        suffix = clip.token_embedding(self.suffix_tokens)
        return torch.cat(
            [
                sos.expand(num_classes, num_prompts, 1, -1),
                context,
                suffix[:, None].expand(-1, num_prompts, -1, -1),
            ],
            dim=2,
        )

    def embed_context(self, text: str) -> Tensor:
        """Token embeddings of a context written in words.

        Args:
            text: E.g. "a photo of a".

        Returns:
            Tensor: (M, d), a copy.
        """
        tokens = torch.tensor(self.towers.tokenizer.encode(text))
        embedding = self.towers.clip.token_embedding.weight
        return embedding[tokens.to(embedding.device)].detach().clone()

    def _check_lengths(self, class_names, tokens, context_length: int) -> None:
        room = self.towers.clip.context_length - context_length - 2  # [SOS] and [EOT]
        for name, ids in zip(class_names, tokens):
            if len(ids) > room:
                raise ValueError(
                    f'The class name {name!r} takes {len(ids)} tokens, but behind '
                    f'{context_length} context tokens there is room for {room}; shorten the name'
                )
