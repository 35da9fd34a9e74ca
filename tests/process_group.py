"""Real processes, started quickly: for distributed work, and for commands."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# a server imports what commands need once, and every process is a copy of it
multiprocessing.set_forkserver_preload(
    ['sotglp_cli', 'sotglp_mm.apis.predict', 'sotglp_mm.campaign', 'sotglp_mm.demo', 'matplotlib']
)


def run_processes(work: Callable, world: int, *arguments) -> None:
    """Run ``work(rank, world, *arguments)`` in each of them; an error in one is raised here."""
    mp.start_processes(work, (world, *arguments), nprocs=world, start_method='forkserver')


def start_processes(work: Callable, world: int, *arguments) -> list[multiprocessing.Process]:
    """The same, without an eye on them: nobody ends the others when one dies."""
    context = multiprocessing.get_context('forkserver')
    processes = [
        context.Process(target=work, args=(rank, world, *arguments), daemon=True)
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    return processes


def join_group(rank: int, world: int, folder: str, **settings) -> None:
    """At the beginning of ``work``; processes meet through a file in ``folder``."""
    torch.set_num_threads(1)
    store = f'file://{folder}/store'
    dist.init_process_group('gloo', store, rank=rank, world_size=world, **settings)


def leave_group() -> None:
    """At the end of ``work``."""
    dist.barrier()
    dist.destroy_process_group()


def run_script(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess:
    """``python command``, without the seconds that imports take.

    Args:
        command: A script and its arguments.
        environment: All environment variables.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ('stdout', 'stderr')]
        context = multiprocessing.get_context('forkserver')
        process = context.Process(target=_script, args=(command, environment, files, os.getcwd()))
        process.start()
        process.join(300)
        if process.is_alive():
            process.kill()
            raise subprocess.TimeoutExpired(command, 300)
        printed = [file.read_text(errors='replace') if file.exists() else '' for file in files]
    return subprocess.CompletedProcess(command, process.exitcode, *printed)


def _script(command: list[str], environment: dict, files: list[Path], folder: str) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment.get('OMP_NUM_THREADS', 1)))
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name='__main__')
