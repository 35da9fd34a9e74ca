"""The embedded demo: zero-shot CLIP beside SOT-GLP, on generated scenes and on real digits."""

import json
import time
from pathlib import Path

from mmengine.config import Config

from ..apis.config import build_runner, load_config
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


def run_demo(work_dir: str | Path = 'work_dirs/demo', epochs: int | None = None) -> dict:
    """Train and test on both sets, print a table, and write ``summary.json``.

    There is no download, and it takes minutes on a CPU.

    Args:
        work_dir: Folder of all results.
        epochs: Shorter or longer training than the configs ask for.

    Returns:
        dict: What the file has: for each set ``zero_shot`` and ``sotglp``, top-1 in percent and
        seconds of training.
    """
    work_dir = Path(work_dir)
    summary = {}
    for name, file in DEMOS.items():
        summary[name] = {
            'zero_shot': _test_zero_shot(_demo_config(file, work_dir / f'{name}_zero_shot')),
            'sotglp': _train(_demo_config(file, work_dir / name, epochs)),
        }
    write_atomically(work_dir / 'summary.json', json.dumps(summary, indent=2) + '\n')
    print()
    print_table(COLUMNS, [_row(name, result) for name, result in summary.items()])
    print(f'\nwritten to {work_dir / "summary.json"}')
    return summary


def _demo_config(file: str, work_dir: Path, epochs: int | None = None) -> Config:
    options: dict = {'experiment_name': work_dir.as_posix().replace('/', '_')}
    if epochs is not None:
        options |= {f'train_cfg.{key}': epochs for key in ('max_epochs', 'val_interval')}
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
        **{name: metrics[key] for name, key in BRANCHES.items()},
        'train_seconds': round(seconds, 1),
    }


def _row(name: str, result: dict) -> list[str]:
    ours = result['sotglp']
    percent = [result['zero_shot']['top1'], *(ours[branch] for branch in BRANCHES)]
    return [name, *(f'{value:.1f}' for value in percent), f'{ours["train_seconds"]:.0f} s']
