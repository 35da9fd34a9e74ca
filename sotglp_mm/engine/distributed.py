"""Several processes: starting them on CPUs, and what to say when one is gone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from mmengine.config import Config
from mmengine.dist import (
    all_gather_object,
    get_rank,
    get_world_size,
    init_dist,
    is_distributed,
)

from ..class_names.resolve import class_difference, resolve_class_names

LOST = re.compile(r'gloo|nccl|connection (closed|reset|refused)|broken pipe', re.IGNORECASE)
"""What torch's messages have in common when another process does not answer."""


def prepare_processes(cfg: Config) -> None:
    """Start MMEngine's processes, on CPUs too, and compare their class names.

    On CPUs MMEngine's start would ask CUDA for a device, and its default wrapper would pass device
    ids. Names are compared now: once models differ in shape, torch's message does not say why.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher == 'none' or is_distributed():
        return
    settings = dict((cfg.get('env_cfg') or {}).get('dist_cfg') or {})
    if launcher == 'pytorch' and not torch.cuda.is_available():
        seconds = settings.get('timeout')
        timeout = None if seconds is None else timedelta(seconds=seconds)
        torch.distributed.init_process_group('gloo', timeout=timeout)
        wrapper = dict(
            type='MMDistributedDataParallel',
            device_ids=None,
            broadcast_buffers=False,
            find_unused_parameters=cfg.get('find_unused_parameters', False),
        )
        cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {})}
    else:
        init_dist(launcher, **settings)
    compare_class_names(cfg)


def compare_class_names(cfg: Config) -> None:
    """Raise ``ValueError`` in all processes if the head's names differ in one."""
    head = (cfg.get('model') or {}).get('head') or {}
    names = resolve_class_names(head['class_names']) if head.get('class_names') else ()
    first, *others = all_gather_object(names)
    for rank, other in enumerate(others, start=1):
        if difference := class_difference(first, other, 'process 0', f'process {rank}'):
            raise ValueError(
                f'The processes of this run have different classes: {difference}. All machines '
                'need the same config, class list and data.'
            )


@contextmanager
def explaining_lost_process() -> Iterator[None]:
    """Where communication fails inside, say that the cause is in another process."""
    try:
        yield
    except RuntimeError as error:
        if not is_distributed() or not LOST.search(str(error)):
            raise
        raise RuntimeError(
            f'process {get_rank()} of {get_world_size()} stops: another one ended, or has not '
            'answered for longer than env_cfg.dist_cfg.timeout seconds. The cause is the first '
            f'error in the output of the others, not this one ({error})'
        ) from error
