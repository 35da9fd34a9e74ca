"""A killed and resumed training is the undisturbed one; tests/kill_runs.py with few kills."""

import re
import subprocess
import sys
from pathlib import Path

from mini_runs import REPO


def test_three_kills(tmp_path: Path):
    command = [sys.executable, str(REPO / 'tests' / 'kill_runs.py'), '--kills', '3']
    done = subprocess.run(
        [*command, '--folder', str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.splitlines()[-1]
    found = re.match(r'(\d+) kills in \d+ runs, (\d+) of them while a file was written', last)
    assert int(found[1]) == 3
    assert int(found[2]) >= 1
