"""The code in our texts, run as a reader would run it.

A fenced block with a title is a file (```python title="name.py"); without one, `python` and `bash`
blocks are run, in their order, in one folder. `console` blocks are for reading.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
READ_ONLY = ('console',)


class Block(NamedTuple):
    language: str
    title: str
    text: str


def blocks_of(text: str) -> list[Block]:
    found = [Block(language, title or '', body) for language, title, body in FENCE.findall(text)]
    assert len(found) == text.count('\n```') / 2, 'a fence that this cannot read'
    return found


def section(text: str, title: str) -> str:
    """From a heading to the next of its level or above."""
    start = re.search(rf'^(#+) {re.escape(title)}$', text, re.MULTILINE)
    assert start, f'no section {title!r}'
    end = re.compile(rf'^#{{1,{len(start[1])}}} ', re.MULTILINE).search(text, start.end())
    return text[start.start() : end.start() if end else None]


def run_blocks(blocks: list[Block], folder: Path, search: Path) -> str:
    """What the blocks print; they find the package below ``search``."""
    environment = {**os.environ, 'PYTHONPATH': str(search), 'OMP_NUM_THREADS': '1'}
    environment['PATH'] = os.pathsep.join([str(Path(sys.executable).parent), os.environ['PATH']])
    starts = {'bash': ['bash', '-eo', 'pipefail', '-c'], 'python': [sys.executable, '-c']}
    printed = ''
    for block in blocks:
        if block.title:
            (folder / block.title).write_text(block.text)
        elif block.language not in READ_ONLY:
            done = subprocess.run(
                [*starts[block.language], block.text],
                **dict(cwd=folder, env=environment, capture_output=True, text=True, timeout=300),
            )
            printed += done.stdout + done.stderr
            assert done.returncode == 0, (
                f'{block.text}\n{done.stdout[-3000:]}{done.stderr[-3000:]}'
            )
    return printed
