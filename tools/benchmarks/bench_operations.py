"""Necessary floating-point operations of the method: every position and patch once.

Matrix products only, a multiplication and an addition counted as two. Norms, softmax, activations,
selection and Sinkhorn are left out, so a share of the matrix rate is a lower bound.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Tower(NamedTuple):
    """The sizes of a transformer that matter here."""

    layers: int
    width: int
    mlp_width: int
    joint_width: int
    """D, what the features are projected to."""


def tower_sizes(transformer, joint_width: int) -> Tower:
    """Sizes of an open_clip transformer."""
    blocks = transformer.resblocks
    mlp_width = blocks[0].mlp.c_fc.out_features
    return Tower(len(blocks), transformer.width, mlp_width, joint_width)


def text_operations(
    tower: Tower,
    name_lengths: Sequence[int],
    num_context: int,
    num_global: int,
    num_local: int,
) -> int:
    """Forward pass of the causal text tower over all prompts of a training step.

    A prompt is ``[SOS] ctx_1..ctx_M name [EOT]``. What is behind [EOT] is not counted. [SOS] is
    the same in all prompts and counts once; [SOS] and context of a shared prompt are the same for
    all classes and count once for each of the G. Of the last block, keys and values of all
    positions are needed, but query, output projection and MLP of [EOT] alone.

    With d the width, m the MLP's width and t positions that a position sees (itself included):

    - a block costs a position ``8 d^2`` (q, k, v, out), ``4 d m`` (MLP), ``4 d t`` (attention);
    - the last block costs it ``4 d^2`` (k, v), and [EOT] ``4 d^2 + 4 d m + 4 d t`` more;
    - the projection of a feature costs ``2 d D``.

    The weights are frozen, so a backward pass, to the inputs alone, costs as much again: each
    product ``x W`` asks for one product ``g W^T``. (Attention asks for two; left out, it is under
    a hundredth.) Forward and backward together are therefore twice this number.

    Args:
        tower: Of the text.
        name_lengths: Tokens of each of the C class names.
        num_context: M.
        num_global: G.
        num_local: N, for each class.
    """
    context = range(1, 1 + num_context)
    total = _positions(tower, [0]) + num_global * _positions(tower, context)
    for length in name_lengths:
        eot = num_context + length + 1
        own = _positions(tower, range(1 + num_context, eot + 1)) + _reading(tower, eot)
        total += num_global * own + num_local * (own + _positions(tower, context))
    return total


def _positions(tower: Tower, positions: Sequence[int]) -> int:
    """These positions through the whole tower, as far as later ones need them."""
    d, m = tower.width, tower.mlp_width
    inner = sum(8 * d * d + 4 * d * m + 4 * d * (position + 1) for position in positions)
    return (tower.layers - 1) * inner + len(positions) * 4 * d * d


def _reading(tower: Tower, position: int) -> int:
    """What the last block and the projection cost at the one position that is read."""
    d, m = tower.width, tower.mlp_width
    return 4 * d * d + 4 * d * m + 4 * d * (position + 1) + 2 * d * tower.joint_width


def image_operations(tower: Tower, num_patches: int, patch_values: int) -> int:
    """Both streams of the image tower for one image; nothing runs backward.

    The value-value stream takes the ordinary stream's values, attends for the patches and has its
    own output projection. Of the last block's ordinary stream only [CLS] is needed.

    Args:
        tower: Of the images.
        num_patches: P.
        patch_values: Numbers in a patch, 3 times its area.
    """
    w, m, p = tower.width, tower.mlp_width, num_patches
    tokens = p + 1
    value_stream = 4 * w * p * tokens + 2 * w * w * p
    block = tokens * (8 * w * w + 4 * w * m + 4 * w * tokens) + value_stream
    last = tokens * 4 * w * w + (4 * w * w + 4 * w * m + 4 * w * tokens) + value_stream
    return 2 * patch_values * w * p + (tower.layers - 1) * block + last


def neck_operations(tower: Tower, batch: int, num_patches: int) -> int:
    """Projection to the joint space, forward and backward to the local projection A.

    ``A^T proj`` is one matrix for all patches: the patches meet it once in each direction.
    """
    w, joint = tower.width, tower.joint_width
    return 4 * w * joint * (w + batch * num_patches) + 2 * w * joint * batch


def local_operations(batch, classes, num_patches, k, num_local, joint_width) -> dict[str, int]:
    """Local branch: ranking all patches by one number a class, K N cosines, their two gradients.

    Returns:
        dict: ``'forward'`` and ``'backward'``.
    """
    ranking = 2 * batch * classes * num_patches * joint_width
    cosines = 2 * batch * classes * k * num_local * joint_width
    return dict(forward=ranking + cosines, backward=2 * cosines)


def global_operations(batch, classes, num_global, joint_width) -> int:
    """Cosines of images and global prompts, one direction."""
    return 2 * batch * classes * num_global * joint_width
