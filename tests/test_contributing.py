"""CONTRIBUTING.md and docs/extend.md do what they say: examples run, lists are complete."""

import re

import pytest
from mini_runs import REPO
from text_blocks import blocks_of, run_blocks, section

EXTEND = (REPO / 'docs' / 'extend.md').read_text()
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
    printed = run_blocks(blocks_of(section(EXTEND, title)), checkout, search=REPO)
    assert EXAMPLES[title] in printed
    assert (checkout / 'run' / 'epoch_1.pth').is_file()


def test_every_make_target_is_listed():
    text = (REPO / 'CONTRIBUTING.md').read_text()
    listed = set(re.findall(r'^\| `(make [\w-]+)`', text, re.MULTILINE))
    targets = re.search(r'^\.PHONY: (.+)$', (REPO / 'Makefile').read_text(), re.MULTILINE)[1]
    assert listed == {f'make {target}' for target in targets.split()}
