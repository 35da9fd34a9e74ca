"""Miniatures of a campaign: configs that differ in their name and in one setting."""

from pathlib import Path

from mini_runs import write_config, write_images

OPTIONS = ['model.head.num_global_prompts=2']
"""Any will do: a campaign hands them on to its jobs."""


def write_campaign(folder: Path, clip: dict, epochs: int = 2, datasets: int = 3) -> list[str]:
    """Data in ``folder``/dtd and ``folder``/mini_<name>.py for each of the names returned."""
    write_images(folder / 'dtd')
    write_config(folder / 'base.py', clip, image_size=48)
    names = ['alpha', 'beta', 'gamma'][:datasets]
    for number, name in enumerate(names, start=1):
        (folder / f'mini_{name}.py').write_text(f"""
_base_ = './base.py'
model = dict(head=dict(num_local_prompts={number}))
optim_wrapper = dict(optimizer=dict(lr=0.002))
train_cfg = dict(max_epochs={epochs}, val_interval=100)
param_scheduler = dict(T_max={epochs})
""")
    return names


def flags(folder: Path, work_dir: Path, datasets: list[str], options: list[str] = OPTIONS) -> list:
    """Command line of a campaign over the miniatures."""
    words = ['--configs', f'{folder}/mini_{{dataset}}.py', '--work-dir', str(work_dir)]
    words += ['--datasets', *datasets]
    return [*words, '--cfg-options', *options] if options else words
