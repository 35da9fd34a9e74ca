"""Several processes without a GPU."""

from datetime import timedelta

import torch
from mmengine.config import Config


def prepare_cpu_processes(cfg: Config) -> None:
    """Let MMEngine's ``launcher='pytorch'`` run on CPUs; with a GPU do nothing.

    MMEngine's start-up asks CUDA for a device, unless the process group is there already, and
    its default wrapper passes device ids, which modules on a CPU refuse.

    Args:
        cfg: The run's config; ``model_wrapper_cfg`` is set if it is not. How many seconds a
            process waits for another is ``env_cfg.dist_cfg.timeout``; torch's default is 1800.
    """
    if cfg.get('launcher', 'none') != 'pytorch' or torch.cuda.is_available():
        return
    seconds = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('timeout')
    timeout = None if seconds is None else timedelta(seconds=seconds)
    torch.distributed.init_process_group('gloo', timeout=timeout)
    wrapper = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {})}
