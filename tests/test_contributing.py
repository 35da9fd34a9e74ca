"""CONTRIBUTING.md does what it says: its examples run, and its lists are complete."""

import re

import pytest
from mini_runs import REPO
from text_blocks import blocks_of, run_blocks, section

TEXT = (REPO / 'CONTRIBUTING.md').read_text()
EXAMPLES = {
    'A dataset': 'accuracy/top1',
    'A tower': 'CLIP small_clip.json from small_clip.pt',
    'An allocation': 'loss_local',
}


@pytest.fixture
def checkout(tmp_path):
    """What a contributor has in front of them, without writing into it."""
    for name in ('configs', 'tools'):
        (tmp_path / name).symlink_to(REPO / name)
    return tmp_path


@pytest.mark.parametrize('title', EXAMPLES)
def test_example_runs(checkout, title):
    printed = run_blocks(blocks_of(section(TEXT, title)), checkout, search=REPO)
    assert EXAMPLES[title] in printed
    assert (checkout / 'run' / 'epoch_1.pth').is_file()


@pytest.mark.parametrize('title', EXAMPLES)
def test_example_is_short(title):
    lines = [block.text.count('\n') for block in blocks_of(section(TEXT, title))]
    assert 0 < sum(lines) < 40


def test_every_tool_and_make_target_is_listed():
    listed = set(re.findall(r'^\| `([\w. -]+)`', section(TEXT, 'Commands'), re.MULTILINE))
    tools = {path.name for path in (REPO / 'tools').iterdir() if path.suffix in ('.py', '.sh')}
    targets = re.search(r'^\.PHONY: (.+)$', (REPO / 'Makefile').read_text(), re.MULTILINE)[1]
    expected = {name for name in tools if name[0] != '_'}
    assert listed == expected | {f'make {target}' for target in targets.split()}


def test_every_room_is_listed():
    listed = set(re.findall(r'^\| `sotglp_mm/(\w+)/`', section(TEXT, 'Rooms'), re.MULTILINE))
    rooms = {path.parent.name for path in (REPO / 'sotglp_mm').glob('*/__init__.py')}
    assert listed == rooms


def test_commands_of_reliability_are_listed():
    """What ``docs/reliability.md`` was made with is found here, word for word."""
    measured = (REPO / 'docs' / 'reliability.md').read_text()
    commands = [line for block in blocks_of(measured) for line in block.text.splitlines()]
    assert len(commands) > 8
    assert [
        command for command in commands if f'`{command}`' not in section(TEXT, 'Reliability')
    ] == []
