"""Sharing a computation over classes out among the processes of a distributed run."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def my_share(count: int) -> slice | None:
    """Every R-th of ``count`` items, from this process's rank on; None: nothing to share out.

    Of items that are sorted by cost every process then gets about as much to do.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return None
    world = dist.get_world_size()
    # with fewer items than processes somebody would be left without a graph, which DDP waits for
    if world == 1 or count < world:
        return None
    return slice(dist.get_rank(), None, world)


def gather_shards(features: Tensor, index: Tensor, num_classes: int) -> Tensor:
    """Put together what the processes made of their shares: (C, ...), float32, in every process.

    ``features`` (share, ...) are this process's, of the classes ``index``, int64 (share,). The
    gradient of a share is the sum over all processes. DDP then averages over processes, of
    which one made that share: together that is the gradient of the mean loss, as without shares.
    """
    features = features.float()  # not every backend sums half precision
    empty = features.new_zeros(num_classes, *features.shape[1:])
    # a sum with zeros: exact, and any backend can do it
    return _SumOverProcesses.apply(empty.index_copy(0, index, features))


class _SumOverProcesses(torch.autograd.Function):
    """The sum, in every process; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, part: Tensor) -> Tensor:
        total = part.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total
