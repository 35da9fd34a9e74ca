"""Miniatures of a campaign: configs that differ in their name and in one setting."""

import os
import runpy
import sys
from pathlib import Path

from mini_runs import write_config, write_images
from process_group import fork

from sotglp_mm.campaign import processes

OPTIONS = ['model.head.num_global_prompts=2']
"""Any will do: a campaign hands them on to its jobs."""


def write_campaign(folder: Path, clip: dict, epochs: int = 2, datasets: int = 3) -> list[str]:
    """Data in ``folder``/dtd and ``folder``/mini_<name>.py for each of the names returned.

    Crops, flips and prompt dropout are drawn as ever.
    """
    write_images(folder / 'dtd')
    write_config(folder / 'base.py', clip, random=True)
    names = ['alpha', 'beta', 'gamma'][:datasets]
    for number, name in enumerate(names, start=1):
        (folder / f'mini_{name}.py').write_text(f"""
_base_ = './base.py'
model = dict(head=dict(num_local_prompts={number}))
optim_wrapper = dict(optimizer=dict(lr=0.002))
train_cfg = dict(max_epochs={epochs}, val_interval=100)
""")
    return names


def run_forked(command: list[str], log_file: Path) -> int:
    """In the place of ``run_command``: the same script and flags, in a fork of this process.

    It has imported everything, so a start takes no time.
    """
    ask_to_die = processes._die_with_parent()

    def run() -> int:
        ask_to_die()
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__  # not those that pytest reads
        sys.argv = command[1:]
        try:
            runpy.run_path(command[1], run_name='__main__')
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return os.waitstatus_to_exitcode(os.waitpid(fork(run, log_file), 0)[1])
