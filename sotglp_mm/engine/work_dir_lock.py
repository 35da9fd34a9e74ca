"""One run at a time in a work dir."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from mmengine.dist import broadcast_object_list, is_main_process

from ..io.files import write_atomically

LOCK, OWNER = '.lock', '.lock_owner.json'


@contextmanager
def work_dir_lock(work_dir: str | Path) -> Iterator[None]:
    """Hold a work dir for one run, all its processes together.

    The system releases the lock when its owner ends, however it ends.

    Raises:
        RuntimeError: Another run has it. The message says which.
    """
    folder = Path(work_dir)
    lock = FileLock(folder / LOCK, timeout=0)
    problem: list[str | None] = [None]
    if is_main_process():
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
            owner = dict(host=socket.gethostname(), pid=os.getpid())
            write_atomically(folder / OWNER, json.dumps(owner))
        except Timeout:
            problem = [_explanation(folder)]
    broadcast_object_list(problem)
    if problem[0]:
        raise RuntimeError(problem[0])
    try:
        yield
    finally:
        if lock.is_locked:
            (folder / OWNER).unlink(missing_ok=True)
            lock.release()


def _explanation(folder: Path) -> str:
    try:
        owner = json.loads((folder / OWNER).read_text(encoding='utf-8'))
        who = f'process {owner["pid"]} on {owner["host"]}'
    except (OSError, ValueError, LookupError, TypeError):  # it has not written it yet
        who = 'another process'
    return (
        f'{folder} is in use: {who} is training there. Two runs would overwrite each '
        "other's checkpoints; take another --work-dir, or wait until it has ended"
    )
