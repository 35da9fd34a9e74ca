"""A campaign killed in the middle and started again ends as an undisturbed one does."""

import re
import subprocess
import sys
from pathlib import Path

from mini_runs import REPO


def test_three_datasets_two_shots(tmp_path: Path):
    command = [sys.executable, str(REPO / 'tests' / 'kill_campaign.py'), '--seeds', '1']
    command += ['--folder', str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.match(r'killed after 3 of 6 jobs', done.stdout.splitlines()[-1])
    table = (tmp_path / 'killed' / 'summary.md').read_text()
    assert table.startswith('# Summary\n\n6 results')
