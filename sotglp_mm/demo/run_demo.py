"""The embedded demo: generated scenes and digits without a download, or EuroSAT's photographs."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from ..apis.check_data import fetch
from ..apis.config import build_runner, load_config
from ..apis.data_checks import locate
from ..datasets.known_sets import KNOWN_SETS
from ..io.files import write_atomically
from ..utils.packaged_files import CONFIGS
from ..utils.tables import print_table

DEMOS = {'scenes': 'sotglp_demo_16shot.py', 'digits': 'sotglp_demo_16shot_digits.py'}
BRANCHES = {
    'top1': 'accuracy/top1',
    'top1_global': 'accuracy_global/top1',
    'top1_local': 'accuracy_local/top1',
}
COLUMNS = ('top-1, %', 'zero-shot', 'SOT-GLP', 'global', 'local', 'training')
REAL_COLUMNS = ('EuroSAT, top-1, %', 'combined', 'global', 'local', 'training')
REAL = {'coop': 'CoOp', 'sotglp': 'SOT-GLP', 'sotglp_plus': 'SOT-GLP+'}
"""Methods of configs/photos that the demo on photographs trains."""


def run_demo(
    work_dir: str | Path = 'work_dirs/demo', epochs: int | None = None, real: bool = False
) -> dict:
    """Train and test, print a table, and write ``summary.json``.

    It takes minutes on a CPU, with a tiny CLIP that the package carries.

    Args:
        work_dir: Folder of all results; of those with ``real``, its subfolder 'real'.
        epochs: Shorter or longer training than the configs ask for.
        real: EuroSAT's 27,000 satellite photographs, 16 shots, in the place of the drawn sets.
            They are looked for below the environment variable DATA, by default ``./data``, and
            fetched by torchvision if they are not there (90 MB).

    Returns:
        dict: What the file has: for each set ``zero_shot`` and ``sotglp``, and with ``real`` the
        other methods, top-1 in percent and seconds of training.

    Raises:
        OSError: The download failed.
    """
    work_dir = Path(work_dir)
    columns: Sequence[str]
    if real:
        work_dir /= 'real'
        summary = {'eurosat': _run_real(work_dir, epochs)}
        columns, rows = REAL_COLUMNS, _real_rows(summary['eurosat'])
    else:
        summary = {
            name: {
                'zero_shot': _test_zero_shot(_demo_config(file, work_dir / f'{name}_zero_shot')),
                'sotglp': _train(_demo_config(file, work_dir / name, epochs)),
            }
            for name, file in DEMOS.items()
        }
        columns, rows = COLUMNS, [_row(name, result) for name, result in summary.items()]
    write_atomically(work_dir / 'summary.json', json.dumps(summary, indent=2) + '\n')
    print()
    print_table(columns, rows)
    print(f'\nwritten to {work_dir / "summary.json"}')
    return summary


def _run_real(work_dir: Path, epochs: int | None) -> dict:
    all_data, eurosat = Path(os.environ.get('DATA', 'data')), KNOWN_SETS['eurosat']
    if not locate(all_data, eurosat).images.is_dir():
        print(f'EuroSAT is not in {all_data}: torchvision fetches it, 90 MB')
        print(fetch(all_data, eurosat.name))
    zero_shot = _demo_config('photos/sotglp_eurosat.py', work_dir / 'zero_shot')
    trained = {
        name: _train(_demo_config(f'photos/{name}_eurosat.py', work_dir / name, epochs))
        for name in REAL
    }
    return {'zero_shot': _test_zero_shot(zero_shot), **trained}


def _real_rows(results: dict) -> list[list[str]]:
    rows = [['zero-shot', f'{results["zero_shot"]["top1"]:.1f}', '', '', '']]
    for name, title in REAL.items():
        percent = (results[name].get(branch) for branch in BRANCHES)
        shown = ['' if value is None else f'{value:.1f}' for value in percent]
        rows.append([title, *shown, f'{results[name]["train_seconds"]:.0f} s'])
    return rows


def _demo_config(file: str, work_dir: Path, epochs: int | None = None) -> Config:
    options: dict = {'experiment_name': work_dir.as_posix().replace('/', '_')}
    options['train_cfg.val_interval'] = 10**6  # what training leaves is tested, once
    if epochs is not None:
        options['train_cfg.max_epochs'] = epochs
    return load_config(CONFIGS / file, options, work_dir)


def _test_zero_shot(cfg: Config) -> dict[str, float]:
    """CLIP's own prediction: one template prompt for each class, nothing learned."""
    cfg.model.head.update(num_global_prompts=1, num_local_prompts=0)
    cfg.model.neck.learn = False
    cfg.test_evaluator = dict(type='Accuracy')
    return {'top1': build_runner(cfg).test()['accuracy/top1']}


def _train(cfg: Config) -> dict[str, float]:
    """Train, and test what the last epoch left."""
    start = time.time()
    runner = build_runner(cfg)
    runner.train()
    seconds = time.time() - start
    metrics = runner.test()
    return {
        **{name: metrics[key] for name, key in BRANCHES.items() if key in metrics},
        'train_seconds': round(seconds, 1),
    }


def _row(name: str, result: dict) -> list[str]:
    ours = result['sotglp']
    percent = [result['zero_shot']['top1'], *(ours[branch] for branch in BRANCHES)]
    return [name, *(f'{value:.1f}' for value in percent), f'{ours["train_seconds"]:.0f} s']
