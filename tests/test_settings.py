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


@pytest.mark.parametrize(
    ('part', 'wrong', 'message'),
    [
        (Strict, 'num_shot', "did you mean 'num_shots'\\? It takes: num_shots, seed"),
        (Strict, 'zebra', 'It takes: num_shots, seed'),
        # the parents' settings count where they are handed on
        (Open, 'color', "did you mean 'colour'\\? It takes: size, colour"),
        (Closed, 'colour', 'It takes: size'),
    ],
)
def test_an_unknown_setting_gets_a_hint_and_the_list(part: type, wrong: str, message: str):
    assert Open(colour='green').colour == 'green'
    with pytest.raises(TypeError, match=f"^{part.__name__} has no setting '{wrong}'; {message}$"):
        part(**{wrong: 4})


def test_a_subclass_may_take_more():
    class Derived(Strict):
        def __init__(self, extra: int, **kwargs):
            super().__init__(**kwargs)
            self.extra = extra

    assert Derived(extra=3, num_shots=4).num_shots == 4
    with pytest.raises(TypeError, match='unexpected keyword'):
        Derived(extra=3, num_shots=4, zebra=True)
