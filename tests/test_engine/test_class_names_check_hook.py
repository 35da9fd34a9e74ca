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
    return SimpleNamespace(model=wrap(model), val_loop=None, **{f'{stage}_dataloader': loader})


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


def several_tasks(*names):
    """A model whose head has a task head for each list of names."""

    def wrap(model):
        heads = {f'task{i}': Head(each) for i, each in enumerate(names)}
        model.head = nn.Module()
        model.head.task_heads = nn.ModuleDict(heads)
        return model

    return wrap


def test_of_several_tasks_the_one_with_names_is_checked():
    check(make_runner(None, ('cat', 'dog'), wrap=several_tasks(None, ('cat', 'dog'))))
    with pytest.raises(ValueError, match=r"label 1 is 'cow' for the head and 'dog'"):
        check(make_runner(None, ('cat', 'dog'), wrap=several_tasks(None, ('cat', 'cow'))))
    # two lists: the dataset's classes can be those of one of them only
    check(make_runner(None, ('cat', 'dog'), wrap=several_tasks(('cat', 'dog'), ('day', 'night'))))


def test_a_model_that_averages_views_is_looked_into():
    def averaging(model):
        wrapper = nn.Module()
        wrapper.module = model
        return wrapper

    with pytest.raises(ValueError, match='differ in their classes'):
        check(make_runner(('cat', 'cow'), ('cat', 'dog'), 'test', averaging), 'test')


def test_what_validation_will_look_at_is_checked_before_the_first_step():
    runner = make_runner(('cat', 'dog'), ['cat', 'dog'])
    later = make_runner(('cat', 'dog'), ['dog', 'cat'], 'val')
    runner.val_loop = SimpleNamespace(dataloader=later.val_dataloader)
    with pytest.raises(ValueError, match=r"label 0 is 'cat' for the head and 'dog'"):
        check(runner)


def test_a_mistyped_setting_is_named():
    with pytest.raises(TypeError, match=r"CheckHook has no setting 'stage'.*no settings"):
        HOOKS.build(dict(type='ClassNamesCheckHook', stage='val'))
