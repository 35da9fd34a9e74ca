"""One of several processes is gone: say so in the others."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.dist import get_rank, get_world_size, is_distributed

SIGNS = re.compile(r'gloo|nccl|connection (closed|reset|refused)|broken pipe', re.IGNORECASE)
"""What torch's messages have in common when another process does not answer."""


@contextmanager
def explaining_lost_process() -> Iterator[None]:
    """Where communication fails inside, tell that the cause is in another process.

    Raises:
        RuntimeError: In the place of torch's, which names addresses only.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_distributed() or not SIGNS.search(str(error)):
            raise
        raise RuntimeError(
            f'process {get_rank()} of {get_world_size()} stops: another one ended, or has not '
            'answered for longer than env_cfg.dist_cfg.timeout seconds. The cause is the first '
            f'error in the output of the others, not this one ({error})'
        ) from error
