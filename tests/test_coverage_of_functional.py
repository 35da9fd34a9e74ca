"""The short form of ``make coverage``: the room that can be measured in seconds."""

import json
import os
import subprocess
import sys

from mini_runs import REPO

BOUND = 95
"""Percent of lines, of every file."""


def test_lines_of_functional(tmp_path):
    environment = {**os.environ, 'COVERAGE_FILE': str(tmp_path / 'data'), 'PYTHONPATH': str(REPO)}
    flags = ['-q', '-p', 'no:cacheprovider', '--hypothesis-profile=few']
    tests = ['-m', 'pytest', *flags, 'tests/test_functional']
    out = str(tmp_path / 'coverage.json')
    for arguments in (['run', *tests], ['combine', '--quiet'], ['json', '--quiet', '-o', out]):
        command = [sys.executable, '-m', 'coverage', *arguments]
        if arguments[0] == 'json':
            command += ['--fail-under=0', '--include=sotglp_mm/functional/*']
        done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    with open(out) as file:
        found = json.load(file)['files']
    percent = {name: about['summary']['percent_covered'] for name, about in found.items()}
    files = {file.name for file in (REPO / 'sotglp_mm' / 'functional').glob('*.py')}
    assert {name.rpartition('/')[2] for name in percent} == files
    assert {name: each for name, each in percent.items() if each < BOUND} == {}
