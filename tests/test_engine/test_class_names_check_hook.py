"""Head and dataset must mean the same classes: checked before training, validation, test."""

from types import SimpleNamespace

import pytest
from mmpretrain.registry import HOOKS
from torch import nn

STAGES = ('train', 'val', 'test')


class Head(nn.Module):
    def __init__(self, class_names):
        super().__init__()
        if class_names is not None:
            self.class_names = class_names


def make_runner(head_names, dataset_names, stage: str = 'train', wrap=lambda model: model):
    model = nn.Module()
    model.head = Head(head_names)
    metainfo = {} if dataset_names is None else {'classes': dataset_names}
    # the other stages' loaders are absent: a hook that looks at the wrong one fails
    loader = SimpleNamespace(dataset=SimpleNamespace(metainfo=metainfo))
    return SimpleNamespace(model=wrap(model), **{f'{stage}_dataloader': loader})


def check(runner, stage: str = 'train') -> None:
    getattr(HOOKS.build(dict(type='ClassNamesCheckHook')), f'before_{stage}')(runner)


@pytest.mark.parametrize('stage', STAGES)
def test_equal_names_pass_whatever_holds_them(stage: str):
    check(make_runner(('cat', 'dog'), ['cat', 'dog'], stage), stage)


def test_underscores_are_spaces_as_in_prompts():
    check(make_runner(['grey_cat', 'hot dog'], ('grey cat', 'hot_dog')))
    with pytest.raises(ValueError, match=r"label 1 is 'hot-dog' for the head and 'hot_dog' in"):
        check(make_runner(['grey_cat', 'hot-dog'], ('grey cat', 'hot_dog')))


@pytest.mark.parametrize('stage', STAGES)
def test_the_first_differing_class_is_shown(stage: str):
    runner = make_runner(('cat', 'dog', 'cow'), ['cat', 'cow', 'dog'], stage)
    with pytest.raises(
        ValueError, match=r"label 1 is 'dog' for the head and 'cow' in the dataset.*class_names"
    ):
        check(runner, stage)


@pytest.mark.parametrize(
    ('ours', 'theirs', 'message'),
    [
        (
            ['cat', 'dog', 'cow'],
            ['cat', 'dog'],
            r"has 3 classes and the dataset 2; label 2, 'cow', is known to the head alone",
        ),
        (
            ['cat'],
            ['cat', 'dog', 'cow'],
            r"has 1 classes and the dataset 3; label 1, 'dog', is known to the dataset alone",
        ),
    ],
)
def test_names_that_are_missing_at_the_end(ours, theirs, message: str):
    with pytest.raises(ValueError, match=message):
        check(make_runner(ours, theirs))


def test_a_wrapped_model_is_looked_into():
    with pytest.raises(ValueError, match=r"label 0 is 'cat' for the head"):
        check(make_runner(['cat'], ['dog'], wrap=nn.DataParallel))


@pytest.mark.parametrize(('ours', 'theirs'), [(None, ['cat']), (['cat'], None)])
def test_who_has_no_names_is_left_alone(ours, theirs):
    check(make_runner(ours, theirs))


def test_a_model_without_a_head_is_left_alone():
    runner = make_runner(['cat'], ['dog'])
    del runner.model.head
    check(runner)
