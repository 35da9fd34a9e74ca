"""The image tower with its V-V stream: plain loops, freezing, sizes."""

import pickle
from pathlib import Path

import pytest
import reference
import torch
from mmpretrain.registry import MODELS
from released import Released
from small_clip import config_with, small_state, write_clip, write_model

from sotglp_mm.structures import ImageFeatures


def build(clip: dict, **settings):
    return MODELS.build(dict(type='OpenCLIPViT', clip=clip, **settings))


def assert_meets_plain_loops(backbone, images: torch.Tensor, state: dict, layers, heads) -> None:
    weights = {key: value.double().numpy() for key, value in state.items()}
    found = backbone(images)
    for b, image in enumerate(images):
        class_token, patches = reference.image_tower(
            image.double().numpy(), weights, layers, heads, backbone.first_block_residual
        )
        for part, expected in ((found.image[b], class_token), (found.patches[b], patches)):
            expected = torch.from_numpy(expected).float()
            torch.testing.assert_close(part, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('first_block_residual', [True, False])
def test_agrees_with_plain_loops(tiny: Released, first_block_residual: bool):
    state = torch.load(tiny.clip['pretrained'], weights_only=True)
    backbone = build(tiny.clip, first_block_residual=first_block_residual)
    assert_meets_plain_loops(backbone, tiny['images'][:1], state, layers=4, heads=2)


@pytest.mark.parametrize('first_block_residual', [True, False])
@pytest.mark.parametrize('layers', [1, 2, 3])
def test_any_number_of_layers(tmp_path: Path, layers: int, first_block_residual: bool):
    """Of a tower with one layer, the first block is the last one too."""
    config = config_with(quick_gelu=True, vision=dict(layers=layers))
    backbone = build(write_clip(tmp_path, config), first_block_residual=first_block_residual)
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    assert_meets_plain_loops(backbone, images, small_state(config), layers, heads=3)


def test_image_stream_is_open_clip_s_with_either_activation(tmp_path: Path):
    clip = write_clip(tmp_path)
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    found = []
    for quick_gelu in (False, True):
        backbone = build({**clip, 'quick_gelu': quick_gelu})
        visual = backbone.towers.clip.visual
        found.append(backbone(images).image @ visual.proj)
        torch.testing.assert_close(found[-1], visual(images))
    assert (found[0] - found[1]).abs().max() > 1e-3  # the wrong one would be silent


def test_layer_scale_is_applied_to_both_streams(tmp_path: Path):
    images = torch.randn(1, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    model_name = write_model(tmp_path, config_with(vision=dict(ls_init_value=0.5)))
    backbone = build(dict(model_name=model_name, pretrained=None))
    visual = backbone.towers.clip.visual
    found = backbone(images)
    torch.testing.assert_close(found.image @ visual.proj, visual(images))
    # with all scales at zero nothing is collected: patches are the normed input of block 0
    for block in visual.transformer.resblocks:
        block.ls_1.gamma.zero_()
        block.ls_2.gamma.zero_()
    torch.testing.assert_close(
        backbone(images).patches, visual.ln_post(visual._embeds(images)[:, 1:])
    )


@pytest.mark.parametrize('shape', [(2, 3, 40, 48), (2, 3, 56, 56), (3, 48, 48)])
def test_images_of_another_size_are_refused(tiny: Released, shape: tuple):
    with pytest.raises(ValueError, match=rf'shape \({shape[0]}, .*takes \(B, 3, 48, 48\)'):
        build(tiny.clip)(torch.zeros(shape))


def test_train_mode_leaves_the_tower_frozen(tiny: Released):
    backbone = build(tiny.clip).eval()
    images = tiny['images'][:2].clone().requires_grad_()
    expected = backbone(images)
    assert isinstance(expected, ImageFeatures)
    assert expected.patches.shape == (2, 36, 128)
    assert expected[-1].shape == (2, 128)  # heads of MMPretrain read the last one
    assert not (expected.patches.requires_grad or expected.image.requires_grad)
    assert not list(backbone.parameters())
    backbone.train()
    assert not any(module.training for module in backbone.towers.clip.modules())
    assert not any(parameter.requires_grad for parameter in backbone.towers.clip.parameters())
    torch.testing.assert_close(backbone(images), expected, rtol=0, atol=0)


def test_features_are_a_named_tuple_with_the_image_last():
    patches, image = torch.ones(2, 3, 4), torch.zeros(2, 4)
    # as one builds it, and as MultiTaskHead rebuilds it
    for feats in (ImageFeatures(patches=patches, image=image), ImageFeatures([patches, image])):
        assert feats.patches is feats[0] is patches
        assert feats.image is feats[-1] is image
        assert feats._fields == ('patches', 'image')
        assert isinstance(feats._replace(image=patches), ImageFeatures)
        assert isinstance(pickle.loads(pickle.dumps(feats)), ImageFeatures)
