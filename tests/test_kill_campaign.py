"""A campaign killed in the middle and started again ends as an undisturbed one does."""

import re
import subprocess
import sys
from pathlib import Path

from mini_runs import REPO


def test_three_datasets_two_shots_two_seeds(tmp_path: Path):
    command = [sys.executable, str(REPO / 'tests' / 'kill_campaign.py'), '--folder', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r'killed after 6 of 12 jobs', done.stdout.splitlines()[-1])
    table = (tmp_path / 'killed' / 'summary.md').read_text()
    assert table.startswith('# Summary\n\n12 results')
