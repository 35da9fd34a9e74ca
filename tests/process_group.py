"""Real processes, started quickly: for distributed work, and for commands."""

import gc
import multiprocessing
import multiprocessing.connection
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import time
import traceback
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


def free_port() -> int:
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        return free.getsockname()[1]


def group_variables(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun gives to each of its processes."""
    numbers = dict(RANK=rank, LOCAL_RANK=rank, WORLD_SIZE=world, MASTER_PORT=port)
    return {'MASTER_ADDR': '127.0.0.1', **{name: str(value) for name, value in numbers.items()}}


def run_script(
    command: list[str], environment: dict[str, str], world: int = 1
) -> subprocess.CompletedProcess:
    """``python command``, without the seconds that imports take.

    Args:
        command: A script and its arguments.
        environment: All environment variables.
        world: Number of processes, as torchrun starts them: where one fails, the others are ended.
    """
    context, port = multiprocessing.get_context('forkserver'), free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = [
            [Path(folder, f'{name}{rank}') for name in ('out', 'err')] for rank in range(world)
        ]
        processes = []
        for rank in range(world):
            more = group_variables(rank, world, port) if world > 1 else {}
            arguments = (command, {**environment, **more}, files[rank], os.getcwd())
            processes.append(context.Process(target=_script, args=arguments))
            processes[-1].start()
        running, end = {process.sentinel: process for process in processes}, time.monotonic() + 300
        while running:
            ended = multiprocessing.connection.wait(running, end - time.monotonic())
            failed = any([running.pop(each).exitcode for each in ended])
            if failed or not ended:
                for process in running.values():
                    process.kill()
            if not ended:
                raise subprocess.TimeoutExpired(command, 300)
        printed = [
            ''.join(file.read_text(errors='replace') for file in each if file.exists())
            for each in zip(*files)
        ]
    codes = [process.exitcode for process in processes]
    return subprocess.CompletedProcess(command, max(codes, key=abs), *printed)


def fork(run: Callable[[], int], log_file: Path) -> int:
    """Run a function in a new process, its output in a file; the process id."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        output = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        gc.freeze()  # see conftest.py
        status = run()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(status)


def _script(command: list[str], environment: dict, files: list[Path], folder: str) -> None:
    for number, file in enumerate(files, start=1):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    gc.freeze()  # see conftest.py
    torch.set_num_threads(int(environment.get('OMP_NUM_THREADS', 1)))
    sys.argv = command
    sys.path.insert(0, str(Path(command[0]).parent))
    runpy.run_path(command[0], run_name='__main__')
