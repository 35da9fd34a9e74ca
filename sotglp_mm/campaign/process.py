"""A command that does not outlive the process that started it."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 15
PR_SET_PDEATHSIG = 1  # of Linux, sys/prctl.h


def run_command(command: list[str], log_file: Path) -> int:
    """Exit status of a command; the command does not outlive this process."""
    with log_file.open('ab') as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            preexec_fn=_die_with_parent(),
        )
    try:
        return process.wait()
    finally:  # Ctrl-C, above all
        _stop(process)


def _stop(process: subprocess.Popen) -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _die_with_parent() -> Callable[[], None] | None:
    """For a new process: be told to end when this one is killed, which runs no code of ours.

    A training left over would write into the folder in which the next campaign goes on.
    """
    if sys.platform != 'linux':
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # killed before it was asked
            os._exit(1)

    return ask
