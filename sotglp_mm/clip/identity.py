"""What tells one image tower from another: its weights, and what its weights do not tell."""

import hashlib

from .towers import ClipTowers


def describe_image_tower(towers: ClipTowers, first_block_residual: bool) -> dict:
    """Whatever the features of an image depend on, beside the image.

    Names do not count: the same weights under a tag and in a file are the same tower.

    Args:
        towers: Of the CLIP, in float32 as they were loaded.
        first_block_residual: See :class:`OpenCLIPViT`.

    Returns:
        dict: Plain values; ``weights_sha256`` is over names, shapes and bytes of the image tower's
        state dict.
    """
    visual = towers.visual
    return dict(
        first_block_residual=first_block_residual,
        quick_gelu=bool(towers.quick_gelu),
        image_size=list(visual.image_size),
        num_heads=[block.attn.num_heads for block in visual.transformer.resblocks],
        weights_sha256=_weights_digest(visual.state_dict()),
    )


def _weights_digest(state: dict) -> str:
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().float().cpu().contiguous()
        digest.update(f'{name}{tuple(tensor.shape)}'.encode())
        digest.update(memoryview(tensor.numpy()).cast('B'))
    return digest.hexdigest()
