"""Every data config trains an epoch on a miniature of its layout, and is evaluated."""

import json
from pathlib import Path

import numpy as np
import pytest
from mini_data import WNIDS, write_set
from mini_runs import REPO, config_of, run_tool, small_config
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
KEYS = {
    'domains': {f'{branch}/{name}/top1' for branch in BRANCHES for name in (*SHIFTS, 'mean')}
    | {f'accuracy/{name}/mean_class' for name in SHIFTS},
    'ood': {
        f'ood/{method}_T1/{name}/{figure}'
        for method in ('mcm', 'l_mcm', 'gl_mcm')
        for name in (*OOD, 'mean')
        for figure in ('auroc', 'fpr95', 'aupr')
    }
    | {'accuracy/imagenet/top1', 'accuracy/imagenet/mean_class'},
}
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


@pytest.mark.parametrize('name', KEYS)
def test_several_sets_in_one_process_and_in_two(tmp_path: Path, tiny, name: str):
    data, out = tmp_path / 'data', tmp_path / 'two.json'
    for known in ('imagenet', 'dtd', *(OOD if name == 'ood' else SHIFTS)):
        write_set(data, known)
    cfg = small_config(config_of(name), data, tmp_path / 'run', tiny.clip)
    cfg.model.head.class_names = IMAGENET
    cfg.train_dataloader.batch_size = 2
    cfg.dump(tmp_path / 'small.py')
    one = train_and_test(cfg)
    assert KEYS[name] <= set(one)
    assert all(0 <= value <= 100 for value in one.values())
    if name == 'domains':
        values = [one[f'accuracy/{each}/top1'] for each in SHIFTS]
        assert one['accuracy/mean/top1'] == pytest.approx(np.mean(values))
    arguments = ['test.py', tmp_path / 'small.py', tmp_path / 'run' / 'epoch_1.pth', '--out', out]
    flags = ['--out-item', 'metrics', '--work-dir', tmp_path / 'two']
    done = run_tool([*arguments, *flags], data, world=2)
    assert done.returncode == 0, done.stderr
    two = json.loads(out.read_text())
    assert one.keys() == two.keys()
    # some sets have an odd number of images, so two processes pad: nothing may count twice
    assert len({round(value, 3) for value in one.values()}) > 3
    assert two == pytest.approx(one, abs=1e-4)


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
