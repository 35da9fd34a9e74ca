"""The neck: unit length, identity start, what learns, and MMPretrain's own heads behind it."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from small_clip import write_clip

from sotglp_mm.structures import ImageFeatures

B, P, W, D = 2, 9, 24, 10  # P, W, D: of the small CLIP


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> dict:
    return write_clip(tmp_path_factory.mktemp('clip'))


@pytest.fixture
def feats() -> ImageFeatures:
    generator = torch.Generator().manual_seed(0)
    patches = torch.randn(B, P, W, generator=generator)
    return ImageFeatures(patches, torch.randn(B, W, generator=generator))


def build(clip: dict, **settings):
    return MODELS.build(dict(type='LocalProjectionNeck', clip=clip, **settings))


def test_projections_have_unit_length_and_start_as_the_identity(clip, feats):
    learned, free = build(clip, learn=True), build(clip, learn=False)
    assert not list(free.parameters()) and not free.state_dict()
    for projected in (learned(feats), free(feats)):
        torch.testing.assert_close(projected.patches.norm(dim=-1), torch.ones(B, P))
        torch.testing.assert_close(projected.image.norm(dim=-1), torch.ones(B))
    assert projected.patches.shape == (B, P, D)
    torch.testing.assert_close(learned(feats).patches.detach(), projected.patches)
    torch.testing.assert_close(learned(feats).image, projected.image)


def test_agrees_with_the_formula(clip, feats):
    neck = build(clip)
    a = torch.randn(W, W, generator=torch.Generator().manual_seed(1))
    neck.local_projection.weight.data.copy_(a)
    proj = neck.towers.clip.visual.proj
    projected = neck(feats)
    patches = F.normalize((feats.patches @ a.T) @ proj, dim=-1)
    torch.testing.assert_close(projected.patches, patches)
    torch.testing.assert_close(projected.image, F.normalize(feats.image @ proj, dim=-1))


def test_tokens_of_mmpretrain_s_vision_transformer_are_taken(clip):
    """Its class token comes first; a backbone without such tokens is refused."""
    arch = dict(embed_dims=W, num_layers=2, num_heads=3, feedforward_channels=4 * W)
    settings = dict(type='VisionTransformer', arch=arch, img_size=12, patch_size=4)
    neck, images = build(clip), torch.randn(B, 3, 12, 12)
    backbone = MODELS.build(dict(**settings, out_type='raw'))
    backbone.eval()
    tokens = backbone(images)
    found = neck(tokens)
    expected = neck(ImageFeatures(tokens[-1][:, 1:], tokens[-1][:, 0]))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    resnet = MODELS.build(dict(type='ResNet', depth=18))
    for backbone in (MODELS.build(settings), resnet):
        with pytest.raises(TypeError, match=r"ends in .*tokens \(B, 10, 24\).*'raw'"):
            neck(backbone(torch.randn(B, 3, 12, 12)))


def test_gradient_reaches_the_projection_and_the_image_does_not_use_it(clip, feats):
    neck = build(clip)
    projected = neck(feats)
    assert not projected.image.requires_grad
    projected.patches[..., 0].sum().backward()
    assert neck.local_projection.weight.grad.shape == (W, W)
    assert neck.local_projection.weight.grad.abs().max() > 0


def test_features_are_float32_under_autocast(clip, feats):
    neck = build(clip)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        projected = neck(feats)
    assert projected.patches.dtype is projected.image.dtype is torch.float32
    # normalised after the conversion: in bfloat16 the length would be off by some 1e-3
    torch.testing.assert_close(projected.patches.norm(dim=-1), torch.ones(B, P))


@pytest.mark.parametrize(
    ('learn', 'state', 'message'),
    [
        (True, torch.eye(5), r'local_projection\.weight of shape \(5, 5\), .* expects \(24, 24\)'),
        (True, None, r"no 'local_projection\.weight'"),
        (False, torch.eye(W), r"holds 'local_projection\.weight', which this Local"),
    ],
)
def test_a_checkpoint_of_another_neck_is_refused(clip, learn: bool, state, message: str):
    state = {} if state is None else {'local_projection.weight': state}
    with pytest.raises(RuntimeError, match=message):
        build(clip, learn=learn).load_state_dict(state, strict=False)
