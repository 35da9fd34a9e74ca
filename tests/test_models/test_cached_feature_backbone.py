"""The cached stand-in of the image tower: which tower it stands for, and that none runs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate, pseudo_collate
from mmpretrain.registry import DATASETS, MODELS
from small_clip import write_clip

from sotglp_mm.structures import ImageFeatures


@pytest.fixture(scope='module')
def cfg(mini_cache):
    return mini_cache.load(mini_cache.cache / 'config.py')


@pytest.fixture(scope='module')
def items(mini_cache):
    dataset = DATASETS.build(mini_cache.dataset(view=0))
    return [dataset[index] for index in (0, 5, 9)]


def forbid_the_image_tower(model) -> list:
    def refuse(module, args):
        raise AssertionError(f'{type(module).__name__} of the image tower was called')

    visual = model.head.towers.clip.visual
    hooks = [module.register_forward_pre_hook(refuse) for module in visual.modules()]
    embeds = visual._embeds
    visual._embeds = lambda images: refuse(visual, images)
    return [*(hook.remove for hook in hooks), lambda: setattr(visual, '_embeds', embeds)]


def test_a_step_and_a_prediction_never_call_the_image_tower(cfg, mini_cache, items):
    model = MODELS.build(cfg.model)
    data = default_collate(items)
    allow = forbid_the_image_tower(model)
    try:
        # the guard works
        with pytest.raises(AssertionError, match='was called'):
            model.towers.image.forward(torch.zeros(1, 3, 48, 48))
        inputs = model.data_preprocessor(data, training=True)
        sum(model(**inputs, mode='loss').values()).backward()
        predictions = model.eval()(**inputs, mode='predict')
    finally:
        for undo in allow:
            undo()
    assert model.head.local_prompts.grad.abs().sum() > 0
    assert model.neck.local_projection.weight.grad.abs().sum() > 0
    assert len(predictions) == 3


def test_it_gives_what_the_tower_gives(cfg, mini_cache, items):
    """View 0 of an image of the test set, whose pipeline leaves nothing to chance."""
    plain = mini_cache.load(mini_cache.config)
    images = DATASETS.build(plain.test_dataloader.dataset)
    uncached = MODELS.build(plain.model).eval()
    data = uncached.data_preprocessor(default_collate([images[4], images[6]]))
    expected = uncached.backbone(data['inputs'])

    cached = MODELS.build(cfg.model).eval()
    dataset = DATASETS.build(mini_cache.dataset('test_dataloader'))
    data = cached.data_preprocessor(default_collate([dataset[4], dataset[6]]))
    found = cached.backbone(data['inputs'])
    assert isinstance(found, ImageFeatures)
    # float16 has 11 bits
    torch.testing.assert_close(found.patches, expected.patches, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(found.image, expected.image, rtol=1e-3, atol=1e-3)
    assert [sample.gt_label.item() for sample in data['data_samples']] == [1, 2]


def test_checkpoints_have_the_same_keys(cfg, mini_cache):
    uncached = MODELS.build(mini_cache.load(mini_cache.config).model)
    assert list(MODELS.build(cfg.model).state_dict()) == list(uncached.state_dict())


def test_any_float_becomes_float32(cfg, items):
    backbone = MODELS.build({**cfg.model.backbone, 'clip': cfg.model.clip})
    half = ImageFeatures(*items[0]['inputs'])
    assert half.patches.dtype == torch.float16
    assert {part.dtype for part in backbone(half)} == {torch.float32}


def test_images_are_refused(cfg):
    backbone = MODELS.build({**cfg.model.backbone, 'clip': cfg.model.clip})
    with pytest.raises(TypeError, match=r'got Tensor \(2, 3, 48, 48\).*the config that the cache'):
        backbone(torch.zeros(2, 3, 48, 48))


def test_other_weights_are_refused(cfg, tmp_path: Path):
    other = dict(**write_clip(tmp_path), quick_gelu=True)
    with pytest.raises(ValueError, match=r'backbone\.image_size\.0 was 48, and is 12 now'):
        MODELS.build({**cfg.model.backbone, 'clip': other})


def test_weights_that_changed_under_their_name_are_refused(cfg, tmp_path: Path):
    clip = dict(cfg.model.clip)
    state = torch.load(clip['pretrained'], weights_only=True)
    state['visual.ln_post.bias'][0] += 1e-3
    clip['pretrained'] = str(tmp_path / 'other.pt')
    torch.save(state, clip['pretrained'])
    with pytest.raises(ValueError, match=r"backbone\.weights_sha256 was '\w+', and is '\w+' now"):
        MODELS.build({**cfg.model.backbone, 'clip': clip})


def test_other_names_of_the_same_weights_pass(cfg, tmp_path: Path):
    clip = dict(cfg.model.clip)
    copy = tmp_path / 'renamed.pt'
    copy.write_bytes(Path(clip['pretrained']).read_bytes())
    MODELS.build({**cfg.model.backbone, 'clip': {**clip, 'pretrained': str(copy)}})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(first_block_residual=False), r'first_block_residual was True, and is False'),
        (dict(cache='/no/such/cache'), r'no feature cache in /no/such/cache'),
    ],
)
def test_other_settings_are_refused(cfg, change: dict, message: str):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        MODELS.build({**cfg.model.backbone, 'clip': cfg.model.clip, **change})


def test_another_activation_is_refused(cfg):
    clip = dict(**cfg.model.clip, quick_gelu=False)
    with pytest.raises(ValueError, match=r'backbone\.quick_gelu was True, and is False'):
        MODELS.build({**cfg.model.backbone, 'clip': clip})


class TestPreprocessor:
    @pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
    def test_batches(self, cfg, items, collate):
        done = MODELS.build(cfg.model.data_preprocessor)(collate(items), training=True)
        assert done['inputs'].patches.shape[:2] == (3, 36)
        np.testing.assert_array_equal(
            done['inputs'].patches.half().numpy(), [i['inputs'].patches for i in items]
        )
        np.testing.assert_array_equal(
            done['inputs'].image.half().numpy(), [i['inputs'].image for i in items]
        )
        assert [sample.gt_label.item() for sample in done['data_samples']] == [0, 1, 2]

    def test_one_hot_labels(self, cfg, items):
        config = {**cfg.model.data_preprocessor, 'to_onehot': True, 'num_classes': 3}
        done = MODELS.build(config)(default_collate(items))
        assert done['data_samples'][2].gt_score.tolist() == [0, 0, 1]

    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            (
                dict(mean=[0.0, 0.0, 0.0]),
                r'data_preprocessor\.mean\.0 was 122\.\d+, and is 0\.0',
            ),
            (dict(to_rgb=False), r'data_preprocessor\.to_rgb was True, and is False'),
            (dict(batch_augments=dict(augments=dict(type='Mixup'))), 'mix pixels'),
        ],
    )
    def test_other_pixels_are_refused(self, cfg, change: dict, message: str):
        with pytest.raises(ValueError, match=message):
            MODELS.build({**cfg.model.data_preprocessor, **change})
