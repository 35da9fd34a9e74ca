"""What a run learns is logged; a run that learns nothing is stopped."""

from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch
from mmpretrain.registry import HOOKS
from torch import nn


class Model(nn.Module):
    def __init__(self, learn: bool):
        super().__init__()
        self.prompts = nn.Parameter(torch.zeros(3, 4, 100), requires_grad=learn)
        self.frozen = nn.Parameter(torch.zeros(7), requires_grad=False)


def make_runner(learn: bool = True, wrap=lambda m: m):
    return SimpleNamespace(model=wrap(Model(learn)), logger=Mock())


def before_train(runner) -> str:
    """The logged text."""
    HOOKS.build(dict(type='LearnedParametersHook')).before_train(runner)
    runner.logger.info.assert_called_once()
    return runner.logger.info.call_args.args[0]


@pytest.mark.parametrize('wrap', [lambda m: m, nn.DataParallel], ids=['bare', 'wrapped'])
def test_learned_parameters_are_logged(wrap):
    text = before_train(make_runner(wrap=wrap))
    assert text.splitlines() == [
        'Learning 1,200 parameters; CLIP is frozen',
        '  prompts (3, 4, 100): 1,200',
    ]


def test_nothing_to_learn_stops_the_run():
    with pytest.raises(ValueError, match=r'Nothing learns in this run.*neck\.learn=True'):
        before_train(make_runner(learn=False))
