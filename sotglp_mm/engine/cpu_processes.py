"""Several processes without a GPU."""

import torch
from mmengine.config import Config


def prepare_cpu_processes(cfg: Config) -> None:
    """Let MMEngine's ``launcher='pytorch'`` run on CPUs; with a GPU do nothing.

    MMEngine's start-up asks CUDA for a device, unless the process group is there already, and
    its default wrapper passes device ids, which modules on a CPU refuse.

    Args:
        cfg: The run's config; ``model_wrapper_cfg`` is set if it is not.
    """
    if cfg.get('launcher', 'none') != 'pytorch' or torch.cuda.is_available():
        return
    torch.distributed.init_process_group('gloo')
    wrapper = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **(cfg.get('model_wrapper_cfg') or {})}
