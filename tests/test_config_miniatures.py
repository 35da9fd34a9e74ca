"""Every data config trains an epoch on a miniature of its layout, and is evaluated."""

from pathlib import Path

import numpy as np
import pytest
from mini_data import WNIDS, write_image, write_set
from mini_runs import REPO, config_of, small_config
from mmengine.config import Config
from mmengine.runner import Runner
from text_blocks import blocks_of, section

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.known_sets import KNOWN_SETS

CONFIGS = REPO / 'configs'
BRANCHES = ('accuracy', 'accuracy_global', 'accuracy_local')
FEW_SHOT = [name for name, known in KNOWN_SETS.items() if known.kind == 'few_shot']
SHIFTS = [name for name, known in KNOWN_SETS.items() if known.kind == 'shift']
OOD = [name for name, known in KNOWN_SETS.items() if known.kind == 'ood']
IMAGENET = list(resolve_class_names('imagenet')[: len(WNIDS)])


def train_and_test(cfg: Config) -> dict[str, float]:
    runner = Runner.from_cfg(cfg)
    runner.train()
    metrics = runner.test()
    assert (Path(cfg.work_dir) / 'epoch_1.pth').is_file()
    assert all(np.isfinite(value) for value in metrics.values())
    return metrics


@pytest.mark.parametrize('name', FEW_SHOT)
def test_few_shot_config_trains(tmp_path: Path, tiny, name: str):
    mini = write_set(tmp_path / 'data', name)
    cfg = small_config(config_of(name), tmp_path / 'data', tmp_path / 'run', tiny.clip)
    cfg.model.head.class_names = list(mini.classes)
    metrics = train_and_test(cfg)
    assert {f'{branch}/top1' for branch in BRANCHES} <= set(metrics)
    assert 'accuracy/mean_class' in metrics


def test_own_images(tmp_path: Path, tiny):
    for label, name in enumerate(('cat', 'dog')):
        for i in range(8):
            write_image(tmp_path / 'photos' / name / f'{i}.jpg', label)
    path = CONFIGS / 'sotglp_vitb16_16shot_own.py'
    cfg = small_config(path, tmp_path / 'photos', tmp_path / 'run', tiny.clip)
    assert cfg.model.head.class_names == ['cat', 'dog']
    assert 'accuracy/top1' in train_and_test(cfg)


def write_imagenets(all_data: Path, others: list[str]) -> None:
    for name in ('imagenet', 'dtd', *others):
        write_set(all_data, name)


def test_domain_shifts(tmp_path: Path, tiny):
    write_imagenets(tmp_path / 'data', SHIFTS)
    path = CONFIGS / 'sotglp_vitb16_16shot_domains.py'
    cfg = small_config(path, tmp_path / 'data', tmp_path / 'run', tiny.clip)
    cfg.model.head.class_names = IMAGENET
    metrics = train_and_test(cfg)
    keys = {f'{branch}/{name}/top1' for branch in BRANCHES for name in (*SHIFTS, 'mean')}
    assert keys <= set(metrics)
    assert {f'accuracy/{name}/mean_class' for name in SHIFTS} <= set(metrics)
    values = [metrics[f'accuracy/{name}/top1'] for name in SHIFTS]
    assert metrics['accuracy/mean/top1'] == pytest.approx(np.mean(values))


def test_another_known_side(tmp_path: Path, tiny):
    """The config of docs/ood.md."""
    text = section((REPO / 'docs' / 'ood.md').read_text(), 'Any set as the known one')
    (config,) = (block.text for block in blocks_of(text) if block.language == 'python')
    (tmp_path / 'pets.py').write_text(config.replace("'configs/", f"'{CONFIGS}/"))
    mini = write_set(tmp_path / 'data', 'oxford_pets')
    write_set(tmp_path / 'data', 'sun')
    cfg = small_config(tmp_path / 'pets.py', tmp_path / 'data', tmp_path / 'run', tiny.clip)
    cfg.model.head.class_names = list(mini.classes)
    metrics = train_and_test(cfg)
    assert {'ood/gl_mcm_T1/sun/auroc', 'accuracy/pets/mean_class'} <= set(metrics)


def test_ood(tmp_path: Path, tiny):
    write_imagenets(tmp_path / 'data', OOD)
    path = CONFIGS / 'sotglp_vitb16_16shot_ood.py'
    cfg = small_config(path, tmp_path / 'data', tmp_path / 'run', tiny.clip)
    cfg.model.head.class_names = IMAGENET
    assert not cfg.model.neck.learn
    metrics = train_and_test(cfg)
    for method in ('mcm', 'l_mcm', 'gl_mcm'):
        for name in (*OOD, 'mean'):
            for figure in ('auroc', 'fpr95', 'aupr'):
                assert 0 <= metrics[f'ood/{method}_T1/{name}/{figure}'] <= 100
    assert {'accuracy/imagenet/top1', 'accuracy/imagenet/mean_class'} <= set(metrics)
