"""Several sets in one pass, through the command lines: one process and two say the same."""

import json
from pathlib import Path

import pytest
from mini_data import WNIDS, write_set
from mini_runs import REPO, run_tool, small_config
from mmengine.runner import Runner

from sotglp_mm.class_names.resolve import resolve_class_names
from sotglp_mm.datasets.known_sets import KNOWN_SETS


@pytest.mark.parametrize('name, kind', [('ood', 'ood'), ('domains', 'shift')])
def test_one_process_and_two(tmp_path: Path, tiny, name: str, kind: str):
    data = tmp_path / 'data'
    for known in ('imagenet', 'dtd', *(k for k, v in KNOWN_SETS.items() if v.kind == kind)):
        write_set(data, known)
    path = REPO / 'configs' / f'sotglp_vitb16_16shot_{name}.py'
    cfg = small_config(path, data, tmp_path / 'run', tiny.clip)
    cfg.model.head.class_names = list(resolve_class_names('imagenet')[: len(WNIDS)])
    cfg.train_dataloader.batch_size = 2
    Runner.from_cfg(cfg).train()
    config, checkpoint = tmp_path / 'small.py', tmp_path / 'run' / 'epoch_1.pth'
    cfg.dump(config)

    found = []
    for number, script in enumerate(('', 'dist_test.sh'), start=1):
        out = tmp_path / f'{number}.json'
        arguments = [config, checkpoint, '--out', out, '--out-item', 'metrics']
        arguments += ['--work-dir', tmp_path / f'test{number}']
        arguments = [*arguments[:2], 2, *arguments[2:]] if script else ['test.py', *arguments]
        done = run_tool(arguments, data, script=script)
        assert done.returncode == 0, done.stderr
        found.append(json.loads(out.read_text()))
    one, two = found
    assert one.keys() == two.keys()
    # some sets have an odd number of images, so two processes pad: nothing may count twice
    assert len({round(value, 3) for value in one.values()}) > 3
    assert two == pytest.approx(one, abs=1e-4)
