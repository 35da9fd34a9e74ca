"""A campaign killed in the middle and started again ends as an undisturbed one does."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from mini_runs import REPO


@pytest.mark.parametrize('how', [[], ['--in-process']], ids=['processes', 'in_process'])
def test_two_datasets(how: list[str], tmp_path: Path):
    command = [sys.executable, str(REPO / 'tests' / 'kill_campaign.py'), *how]
    command += ['--datasets', 'alpha', 'beta', '--shots', '2', '--seeds', '1']
    command += ['--folder', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r'killed after 1 of 2 jobs', done.stdout.splitlines()[-1])
