"""The embedded demo: zero-shot CLIP beside SOT-GLP, on generated scenes and on real digits.

    sotglp demo

prints a table and writes it to work_dirs/demo/summary.json. No download, minutes on a CPU.
"""

import argparse
import json
import time
from pathlib import Path

from mmengine.config import Config
from mmengine.runner import Runner

from ..apis import load_config
from ..utils.packaged_files import CONFIGS

DEMOS = {
    'scenes': 'sotglp_demo_16shot.py',
    'digits': 'sotglp_demo_16shot_digits.py',
}
BRANCHES = {
    'top1': 'accuracy/top1',
    'top1_global': 'accuracy_global/top1',
    'top1_local': 'accuracy_local/top1',
}


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--work-dir', default='work_dirs/demo', help='folder of all results')
    parser.add_argument(
        '--epochs', type=int, help='shorter or longer training than the configs ask for'
    )
    return parser.parse_args()


def demo_config(file: str, work_dir: Path, epochs: int | None) -> Config:
    """A demo config, as tools/train.py would run it."""
    cfg = load_config(CONFIGS / file, work_dir=work_dir)
    cfg.experiment_name = work_dir.as_posix().replace('/', '_')
    if epochs is not None:
        cfg.train_cfg.update(max_epochs=epochs, val_interval=epochs)
        cfg.param_scheduler.T_max = epochs
    return cfg


def zero_shot(cfg: Config) -> dict[str, float]:
    """CLIP's own prediction: one template prompt for each class, nothing learned."""
    cfg.model.head.update(num_global_prompts=1, num_local_prompts=0)
    cfg.model.neck.learn = False
    cfg.test_evaluator = dict(type='Accuracy')
    return {'top1': Runner.from_cfg(cfg).test()['accuracy/top1']}


def sotglp(cfg: Config) -> dict[str, float]:
    """Train, and test what the last epoch left."""
    start = time.time()
    runner = Runner.from_cfg(cfg)
    runner.train()
    seconds = time.time() - start
    metrics = runner.test()
    return {
        **{name: metrics[key] for name, key in BRANCHES.items()},
        'train_seconds': round(seconds, 1),
    }


def table(summary: dict) -> str:
    """Rows for the terminal."""
    head = f'{"top-1, %":<12}{"zero-shot":>11}{"SOT-GLP":>10}{"global":>9}{"local":>8}'
    head += f'{"training":>12}'
    rows = [head, '-' * len(head)]
    for name, found in summary.items():
        ours = found['sotglp']
        rows.append(
            f'{name:<12}{found["zero_shot"]["top1"]:>11.1f}{ours["top1"]:>10.1f}'
            f'{ours["top1_global"]:>9.1f}{ours["top1_local"]:>8.1f}'
            f'{ours["train_seconds"]:>10.0f} s'
        )
    return '\n'.join(rows)


def main() -> None:
    """Run both demos."""
    args = parse_args()
    work_dir = Path(args.work_dir)
    summary = {}
    for name, file in DEMOS.items():
        summary[name] = {
            'zero_shot': zero_shot(demo_config(file, work_dir / f'{name}_zero_shot', None)),
            'sotglp': sotglp(demo_config(file, work_dir / name, args.epochs)),
        }
    path = work_dir / 'summary.json'
    path.write_text(json.dumps(summary, indent=2) + '\n')
    print(f'\n{table(summary)}\n\nwritten to {path}')


if __name__ == '__main__':
    main()
