"""Real processes for tests of distributed work, started quickly."""

import multiprocessing
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

# a server imports the package once, and every process is a copy of it
multiprocessing.set_forkserver_preload(['sotglp_mm'])


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
