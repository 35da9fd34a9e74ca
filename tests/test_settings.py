"""A mistyped setting stops the run with a sentence that helps."""

import pytest

from sotglp_mm.utils.settings import checked_settings


class Parent:
    def __init__(self, colour: str = 'red', **kwargs):
        self.colour = colour


@checked_settings
class Strict:
    """With two settings."""

    def __init__(self, num_shots: int, seed: int = 1):
        self.num_shots, self.seed = num_shots, seed


@checked_settings
class Open(Parent):
    def __init__(self, size: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.size = size


@checked_settings
class Closed(Parent):
    def __init__(self, size: int = 1):
        super().__init__(colour='blue')
        self.size = size


def test_known_settings_pass():
    built = Strict(4, seed=2)
    assert (built.num_shots, built.seed) == (4, 2)
    assert Strict.__doc__ == 'With two settings.'


def test_a_near_miss_gets_a_hint():
    with pytest.raises(
        TypeError,
        match=r"Strict has no setting 'num_shot'; did you mean 'num_shots'\? "
        r'It takes: num_shots, seed',
    ):
        Strict(num_shot=4)


def test_something_else_gets_the_list_alone():
    with pytest.raises(TypeError, match=r"no setting 'zebra'; It takes: num_shots, seed"):
        Strict(4, zebra=True)


def test_settings_of_the_parents_count_where_they_are_handed_on():
    assert Open(colour='green').colour == 'green'
    with pytest.raises(TypeError, match=r"Open has no setting 'color'; did you mean 'colour'"):
        Open(color='green')


def test_settings_of_the_parents_do_not_count_where_they_are_not():
    with pytest.raises(TypeError, match=r"Closed has no setting 'colour'; It takes: size"):
        Closed(colour='green')


def test_a_subclass_may_take_more():
    class Derived(Strict):
        def __init__(self, extra: int, **kwargs):
            super().__init__(**kwargs)
            self.extra = extra

    assert Derived(extra=3, num_shots=4).num_shots == 4
    with pytest.raises(TypeError, match='unexpected keyword'):
        Derived(extra=3, num_shots=4, zebra=True)
