"""tests/mutate_functional.py on some mutants, and whether it could tell."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mini_runs import REPO
from mutate_functional import EXPLAINED, all_mutants, mutants_of

SCRIPT = str(REPO / 'tests' / 'mutate_functional.py')


@pytest.fixture(scope='module')
def changes() -> set[tuple[str, str]]:
    return {(mutant.module, mutant.change) for mutant in all_mutants()}


def test_a_sample_is_killed_or_explained():
    command = [sys.executable, SCRIPT, '--module', 'local_score', '--sample', '8', '--seed', '1']
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r'^\d of 8 mutants killed', done.stdout, re.MULTILINE)


def test_what_is_explained_can_happen(changes):
    rows = json.loads(EXPLAINED.read_text())
    assert {(row['module'], row['change']) for row in rows} <= changes
    assert all(len(row['why']) > 20 for row in rows)


def test_mutants_of_a_file(tmp_path: Path):
    file = tmp_path / 'example.py'
    file.write_text('''
"""Words that no test looks at."""

def half(x, other=None):
    """More words."""
    if x < 3 and not other:
        raise ValueError(f'x must be at least 3, not {x}')
    with quiet(x):
        y = -x / 2
    return sum(y, start=0)
''')
    found = {mutant.change.replace('\n    pass', '') for mutant in mutants_of(file)}
    assert found == {
        'if x < 3 and (not other): -> if x <= 3 and (not other):',
        'if x < 3 and (not other): -> if x < 3 or not other:',
        'if x < 3 and (not other): -> if x < 4 and (not other):',
        'if x < 3 and (not other): -> if x < 3 and (not not other):',
        'if x < 3 and (not other): -> if False:',
        "with quiet(x): -> with __import__('contextlib').nullcontext():",
        'y = -x / 2 -> y = -x * 2',
        'y = -x / 2 -> y = +x / 2',
        'y = -x / 2 -> y = -x / 3',
        'y = -x / 2 -> pass',
        'return sum(y, start=0) -> return sum(y, start=1)',
        'return sum(y, start=0) -> return sum(y)',
        'return sum(y, start=0) -> return None',
    }
