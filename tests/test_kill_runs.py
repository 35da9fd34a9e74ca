"""A killed and resumed training is the undisturbed one; tests/kill_runs.py with few kills."""

import re
from pathlib import Path

from mini_runs import run_tool


def test_two_kills(tmp_path: Path):
    flags = ['--kills', 2, '--epochs', 6, '--folder', tmp_path]
    done = run_tool(['../tests/kill_runs.py', *flags], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    assert re.match(r'2 kills in \d+ runs, [12] of them while a file was written', last)
