"""SOT-GLP written down plainly, in open_clip's own blocks: nothing is shared, skipped or fused.

``speed.py --plain`` times the package against it, and a test compares their losses and
gradients. Every prompt runs over all positions of the text tower's context; the value-value stream
is a separate attention with its own projection and an explicit softmax; the local branch computes
the similarity of every patch and every prompt before it selects.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from open_clip import CLIP, SimpleTokenizer
from torch import Tensor, nn


class PlainMethod(nn.Module):
    """The method with released settings; parameters are named and shaped as the package's.

    Args:
        clip: A frozen ``open_clip.CLIP``, with a plain ViT and a causal text tower.
        tokenizer: Its tokenizer.
        class_names: C names.
        num_global: G, shared prompts.
        num_local: N, prompts of each class.
        k: K, patches of a support.
    """

    context = 'a photo of a'
    prompt_dropout = 0.75
    epsilon = 0.1
    iterations = 20

    def __init__(
        self,
        clip: CLIP,
        tokenizer: SimpleTokenizer,
        class_names: Sequence[str],
        num_global: int = 3,
        num_local: int = 4,
        k: int = 10,
    ) -> None:
        super().__init__()
        self.clip, self.k = clip, k
        names = [name.replace('_', ' ') for name in class_names]
        self.tokens = tokenizer([f'{self.context} {name}' for name in names])
        self.eot = (self.tokens == tokenizer.eot_token_id).int().argmax(dim=1)
        self.num_kept = max(num_global - int(self.prompt_dropout * num_global), 1)

        num_context = len(tokenizer.encode(self.context))
        words = clip.token_embedding(self.tokens[0, 1 : 1 + num_context]).detach()
        self.global_prompts = nn.Parameter(words.repeat(num_global, 1, 1))
        shape = (len(names), num_local, *words.shape)
        self.local_prompts = nn.Parameter(nn.init.xavier_uniform_(torch.empty(shape)))
        self.local_projection = nn.Parameter(torch.eye(clip.visual.transformer.width))

    def losses(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Of the global and the local branch; images (B, 3, H, W), labels int64 (B,)."""
        patches, image = self.project(*self.encode_image(images))
        scale = self.clip.logit_scale.exp()
        similarity = self.global_similarity(image, self.encode_text(self.global_prompts))
        kept = torch.randint(similarity.shape[-1], (len(images), self.num_kept))
        kept = kept[:, None].expand(-1, similarity.shape[1], -1)
        loss_global = F.cross_entropy(scale * similarity.gather(-1, kept).mean(dim=-1), labels)
        scores = self.local_scores(patches, self.encode_text(self.local_prompts))
        return loss_global, F.cross_entropy(scale * scores, labels)

    @torch.no_grad()
    def predict(self, images: Tensor, text_global: Tensor, text_local: Tensor) -> Tensor:
        """Class probabilities (B, C) from text features that were encoded before."""
        patches, image = self.project(*self.encode_image(images))
        scores = self.global_similarity(image, text_global).mean(dim=-1)
        scores = (scores + self.local_scores(patches, text_local)) / 2
        return (self.clip.logit_scale.exp() * scores).softmax(dim=-1)

    def encode_text(self, context: Tensor) -> Tensor:
        """Contexts (C, n, M, d), or (n, M, d) for all classes -> unit features (C, n, D)."""
        clip, num_classes = self.clip, len(self.tokens)
        if context.ndim == 3:
            context = context.expand(num_classes, *context.shape)
        num_prompts, num_context = context.shape[1:3]
        words = clip.token_embedding(self.tokens)[:, None].expand(-1, num_prompts, -1, -1)
        x = torch.cat([words[:, :, :1], context, words[:, :, 1 + num_context :]], dim=2)
        x = x.flatten(0, 1) + clip.positional_embedding
        x = clip.ln_final(clip.transformer(x, attn_mask=clip.attn_mask))
        x = x[torch.arange(len(x)), self.eot.repeat_interleave(num_prompts)]
        x = (x @ clip.text_projection).unflatten(0, (num_classes, num_prompts))
        return F.normalize(x.float(), dim=-1)

    @torch.no_grad()
    def encode_image(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, H, W) -> V-V patches (B, P, W) and [CLS] (B, W)."""
        visual = self.clip.visual
        x = z = visual._embeds(images)
        for index, block in enumerate(visual.transformer.resblocks):
            attended = block.ls_1(block.attention(block.ln_1(x)))
            z = z + block.ls_1(attend_with_values(block.ln_1(x), block.attn))
            if index == 0:
                z = z + attended  # the released program does so
            x = x + attended
            x = x + block.ls_2(block.mlp(block.ln_2(x)))
        return visual.ln_post(z[:, 1:]), visual.ln_post(x[:, 0])

    def project(self, patches: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Tower width -> unit vectors of the joint space, (B, P, D) and (B, D)."""
        projection = self.clip.visual.proj
        patches = (patches @ self.local_projection.T) @ projection
        image = image @ projection
        return F.normalize(patches.float(), dim=-1), F.normalize(image.float(), dim=-1)

    @staticmethod
    def global_similarity(image: Tensor, text: Tensor) -> Tensor:
        """Cosines (B, C, G) of images (B, D) and text features (C, G, D)."""
        with torch.autocast(image.device.type, enabled=False):
            return torch.einsum('bd,cgd->bcg', image, text)

    def local_scores(self, patches: Tensor, text: Tensor) -> Tensor:
        """Patches (B, P, D) and text features (C, N, D) -> local scores (B, C)."""
        with torch.autocast(patches.device.type, enabled=False):
            similarity = torch.einsum('bpd,cnd->bpcn', patches, text)
        support = similarity.mean(dim=-1).topk(self.k, dim=1).indices  # (B, K, C)
        support = support[..., None].expand(-1, -1, -1, similarity.shape[-1])
        selected = similarity.gather(1, support).transpose(1, 2)  # (B, C, K, N)
        plan = sinkhorn(1 - selected.detach(), self.epsilon, self.iterations)
        return (plan * selected).sum(dim=(2, 3)) / selected.shape[-1]


def attend_with_values(t: Tensor, attention: nn.MultiheadAttention) -> Tensor:
    """Value-value attention of one block: t (B, L, W) after ln_1 -> (B, L, W)."""
    width, heads = attention.embed_dim, attention.num_heads
    weight, bias = attention.in_proj_weight[2 * width :], attention.in_proj_bias[2 * width :]
    v = F.linear(t, weight, bias).unflatten(-1, (heads, -1)).transpose(1, 2)
    weights = (v @ v.transpose(2, 3) / v.shape[-1] ** 0.5).softmax(dim=-1)
    return attention.out_proj((weights @ v).transpose(1, 2).flatten(2))


def sinkhorn(cost: Tensor, epsilon: float, iterations: int) -> Tensor:
    """Plans (..., K, N) of total mass 1 with uniform marginals, for costs of that shape."""
    kernel = torch.exp(-cost / epsilon)
    row = cost.new_ones(cost.shape[:-1])
    column = cost.new_ones(*cost.shape[:-2], cost.shape[-1])
    for _ in range(iterations):
        row = 1 / cost.shape[-2] / (kernel @ column[..., None]).squeeze(-1)
        column = 1 / cost.shape[-1] / (row[..., None, :] @ kernel).squeeze(-2)
    return row[..., None] * kernel * column[..., None, :]
