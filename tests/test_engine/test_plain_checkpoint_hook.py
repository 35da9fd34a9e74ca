"""Checkpoints that torch's safe loading reads, in a process that knows nothing of MMEngine."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmpretrain.registry import HOOKS

from sotglp_mm.io.checkpoint_file import read_checkpoint

LOSSES = [0.5, 0.25, 0.125]

READ_ELSEWHERE = """
import sys
import torch
hub = torch.load(sys.argv[1], weights_only=True)['message_hub']
print(hub['log_scalars']['train/loss']['history_buffer']['values'].tolist())
print(hub['runtime_info']['epoch'], hub['runtime_info']['best'])
print([name for name in ('mmengine', 'mmpretrain', 'sotglp_mm') if name in sys.modules])
"""


@pytest.fixture
def hub() -> MessageHub:
    hub = MessageHub('a run')
    for loss in LOSSES:
        hub.update_scalar('train/loss', loss, count=2)
    hub.update_info('epoch', 3)
    hub.update_info('best', np.float64(0.75))  # a metric, as numpy counts it
    return hub


@pytest.fixture
def hook():
    return HOOKS.build(dict(type='PlainCheckpointHook'))


def save(hook, hub: MessageHub, file: Path) -> None:
    checkpoint = dict(state_dict={'a': torch.ones(2)}, message_hub=hub.state_dict())
    hook.before_save_checkpoint(runner=None, checkpoint=checkpoint)
    torch.save(checkpoint, file)


def assert_is_history(buffer) -> None:
    assert isinstance(buffer, HistoryBuffer)
    values, counts = buffer.data
    np.testing.assert_array_equal(values, LOSSES)
    np.testing.assert_array_equal(counts, [2, 2, 2])
    assert buffer.statistics('mean', 2) == pytest.approx(sum(LOSSES[-2:]) / (2 + 2))


def test_another_process_reads_it_without_any_allow_list(hook, hub, tmp_path: Path):
    save(hook, hub, tmp_path / 'epoch_3.pth')
    read = subprocess.run(
        [sys.executable, '-c', READ_ELSEWHERE, str(tmp_path / 'epoch_3.pth')],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert read.returncode == 0, read.stderr
    assert read.stdout.splitlines() == [str(LOSSES), '3 0.75', '[]']


def test_resuming_brings_the_history_back(hook, hub, tmp_path: Path):
    save(hook, hub, tmp_path / 'epoch_3.pth')
    checkpoint = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    hook.after_load_checkpoint(runner=None, checkpoint=checkpoint)
    resumed = MessageHub('another run')
    resumed.load_state_dict(checkpoint['message_hub'])
    buffer = resumed.get_scalar('train/loss')
    assert_is_history(buffer)
    assert buffer.max_length == hub.get_scalar('train/loss').max_length
    resumed.update_scalar('train/loss', 0.0625)
    assert resumed.get_scalar('train/loss').current() == 0.0625
    assert resumed.get_info('epoch') == 3


def test_the_live_history_is_left_as_it_was(hook, hub, tmp_path: Path):
    save(hook, hub, tmp_path / 'epoch_3.pth')
    assert_is_history(hub.get_scalar('train/loss'))
    hub.update_scalar('train/loss', 0.0625)
    saved = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)['message_hub']
    series = saved['log_scalars']['train/loss']['history_buffer']
    assert series['values'].tolist() == LOSSES


def test_a_checkpoint_of_a_run_without_the_hook_loads_too(hook, hub, tmp_path: Path):
    torch.save(dict(message_hub=hub.state_dict()), tmp_path / 'epoch_3.pth')
    checkpoint = read_checkpoint(tmp_path / 'epoch_3.pth')
    hook.after_load_checkpoint(runner=None, checkpoint=checkpoint)
    assert_is_history(checkpoint['message_hub']['log_scalars']['train/loss'])


def test_a_config_is_not_run(hook):
    """MMEngine's Runner.resume would run it."""
    checkpoint = dict(meta=dict(epoch=2, cfg='text', config="open('canary', 'w')"))
    hook.after_load_checkpoint(runner=None, checkpoint=checkpoint)
    assert checkpoint['meta'] == dict(epoch=2, cfg='text')


def test_a_checkpoint_of_weights_alone_is_left_alone(hook):
    checkpoint = dict(state_dict={})
    hook.after_load_checkpoint(runner=None, checkpoint=checkpoint)
    assert checkpoint == dict(state_dict={})
