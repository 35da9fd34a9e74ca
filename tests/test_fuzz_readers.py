"""tests/fuzz_readers.py with few inputs, and whether it would notice."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import fuzz_readers
import pytest
from fuzz_data_targets import prepare_split, read_split_file, wrong_split
from fuzz_readers import judge, stop
from fuzz_targets import TARGETS
from mini_runs import REPO


def test_no_finding(tmp_path: Path):
    command = [sys.executable, str(REPO / 'tests' / 'fuzz_readers.py'), '--inputs', '1000']
    done = subprocess.run([*command, '--keep', str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    *each, last = done.stdout.splitlines()
    assert last.startswith('924 inputs to 20 readers: ')  # fewer to slow ones
    assert last.endswith(' 0 findings; code in pickles: never run, always refused')
    rows = each[-len(TARGETS) :]  # onedl-mmengine prints a line when it is imported
    counts = [re.fullmatch(r'(.*): (\d+) inputs, (\d+) refused, (\d+) read', row) for row in rows]
    assert [found[1] for found in counts] == list(TARGETS)
    for found, target in zip(counts, TARGETS.values()):
        inputs, refused, read = map(int, found.groups()[1:])
        assert inputs == -(-48 // target.cost)
        assert refused
        assert refused + read == inputs


class Careless:
    """Readers as others write them."""

    @staticmethod
    def any_path(folder: Path):
        rows = json.loads((folder / 'split.json').read_text())['train']
        names = {label: name for _, label, name in rows}
        return names, [(str(folder / 'images' / path), label, name) for path, label, name in rows]

    @staticmethod
    def slow(folder: Path):
        time.sleep(30)

    @staticmethod
    def wrong_label(folder: Path):
        names, rows = read_split_file(folder)
        return names, [(path, 0, names[0]) for path, label, name in rows]

    @staticmethod
    def nameless(folder: Path):
        raise ValueError('something is wrong')

    @staticmethod
    def deep(folder: Path):
        return {}['train']


@pytest.mark.parametrize(
    ('reader', 'why'),
    [
        ('any_path', 'is outside'),
        ('slow', 'no answer in 2 s'),
        ('wrong_label', 'instead of'),
        ('nameless', 'the file is not named'),
        ('deep', "KeyError: 'train'"),
    ],
)
def test_careless_readers_are_found(tmp_path: Path, monkeypatch, reader: str, why: str):

    monkeypatch.setattr(fuzz_readers, 'SECONDS', 2)
    old = signal.signal(signal.SIGALRM, stop)
    folder = tmp_path / 'data'
    prepare_split(folder)
    if reader == 'any_path':
        rows = [
            ['../../outside.jpg', 0, 'ant'],
            ['bee/0.jpg', 1, 'bee'],
            ['crab/0.jpg', 2, 'crab'],
        ]
        (folder / 'split.json').write_text(json.dumps(dict(train=rows)))
    target = TARGETS['split file']._replace(read=getattr(Careless, reader), wrong=wrong_split)
    verdict, told = judge(target, folder)
    signal.signal(signal.SIGALRM, old)
    assert verdict == 'FOUND'
    assert why in told
