"""The same seed is the same run; a prediction depends on its image alone.

Workers, validation and resuming: ``test_engine/test_exact_resume.py``. Processes:
``test_models/test_class_shards.py``. Views of an image: ``test_datasets/test_epoch_sampler.py``.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from mini_runs import REPO
from mini_trust import EPOCHS, assert_equal, learned, losses, train, trust_config
from mmengine.config import Config
from mmpretrain.registry import MODELS

from sotglp_mm.demo import DemoScenesDataset
from sotglp_mm.functional import OOD_FIELDS

NUM_IMAGES = 30
BOUND = 1e-6
"""Of a cosine or an OOD score, in float32."""


@pytest.fixture(scope='module')
def config(tiny, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('seeds')
    return trust_config(folder, tiny.clip, epochs=2)


def run(config: Path, name: str, seed: int) -> Path:
    return train(config, config.parent / name, randomness__seed=seed, train_cfg__max_epochs=2)


def test_the_same_seed_is_the_same_run(config: Path):
    assert EPOCHS > 1
    one, again, other = (run(config, *key) for key in (('one', 3), ('again', 3), ('other', 4)))
    assert_equal(learned(one / 'epoch_2.pth'), learned(again / 'epoch_2.pth'))
    assert losses(one) == losses(again)
    assert losses(one) != losses(other)


@pytest.fixture(scope='module')
def model():
    """The demo's CLIP behind prompts and a projection that are random, all OOD scores on."""
    cfg = Config.fromfile(REPO / 'configs' / 'sotglp_demo_16shot.py')
    cfg.model.head.ood_methods = tuple(OOD_FIELDS)
    torch.manual_seed(5)
    model = MODELS.build(cfg.model)
    for parameter in model.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.05)
    return model.eval()


@pytest.fixture(scope='module')
def pixels(model) -> torch.Tensor:
    scenes = DemoScenesDataset(split='test')
    images = [scenes[i]['img'] for i in range(NUM_IMAGES)]
    inputs = [torch.from_numpy(np.ascontiguousarray(each)).permute(2, 0, 1) for each in images]
    return model.data_preprocessor(dict(inputs=inputs))['inputs']


def scores(model, pixels: torch.Tensor, batch_size: int) -> dict[str, torch.Tensor]:
    """All that is said of each image, before and behind the softmax."""
    found: dict[str, list] = {}
    with torch.no_grad():
        for batch in pixels.split(batch_size):
            feats = model.extract_feat(batch)
            of_global, of_local = model.head.scores(feats)
            found.setdefault('global', []).append(of_global)
            found.setdefault('local', []).append(of_local)
            for field in OOD_FIELDS.values():
                values = [sample.get(field) for sample in model.head.predict(feats)]
                found.setdefault(field, []).append(torch.stack(values))
    return {field: torch.cat(values) for field, values in found.items()}


@pytest.fixture(scope='module')
def together(model, pixels) -> dict[str, torch.Tensor]:
    return scores(model, pixels, NUM_IMAGES)


def test_images_differ(together):
    """Else the next tests would say nothing."""
    for field, values in together.items():
        assert (values - values.roll(1, dims=0)).abs().amax() > 1000 * BOUND, field


@pytest.mark.parametrize('batch_size', [1, 7, 16])
def test_batch_size_does_not_matter(model, pixels, together, batch_size: int):
    found = scores(model, pixels, batch_size)
    assert found.keys() == together.keys()
    for field, values in found.items():
        torch.testing.assert_close(values, together[field], rtol=0, atol=BOUND)


def test_order_does_not_matter(model, pixels, together):
    order = torch.randperm(NUM_IMAGES, generator=torch.Generator().manual_seed(1))
    for field, values in scores(model, pixels[order], 7).items():
        torch.testing.assert_close(values, together[field][order], rtol=0, atol=BOUND)


def test_a_prediction_repeats_to_the_bit(model, pixels, together):
    for field, values in scores(model, pixels, NUM_IMAGES).items():
        assert torch.equal(values, together[field]), field
