"""Settings of our registered parts: a mistyped one is refused with a helpful sentence."""

import difflib
import functools
import inspect
from collections.abc import Iterable
from typing import Any


def checked_settings(cls: Any) -> Any:
    """Class decorator: a keyword that ``cls.__init__`` does not take raises a helpful TypeError.

    Settings that a class passes on to its parents with ``**kwargs`` count as known.
    """
    known = _known_settings(cls)
    original = cls.__init__

    @functools.wraps(original)
    def checked_init(self: Any, *args: Any, **kwargs: Any) -> None:
        unknown = sorted(set(kwargs) - set(known))
        if unknown and type(self) is cls:
            near = difflib.get_close_matches(unknown[0], known, n=1)
            hint = f'did you mean {near[0]!r}? ' if near else ''
            raise TypeError(
                f'{cls.__name__} has no setting {unknown[0]!r}; {hint}It takes: '
                f'{", ".join(known) or "no settings"}'
            )
        original(self, *args, **kwargs)

    cls.__init__ = checked_init
    return cls


def check_choice(owner: str, name: str, value: Any, known: Iterable[str]) -> None:
    """Raise ``ValueError`` if a setting has none of its known values."""
    if value not in tuple(known):
        raise ValueError(f'{owner}: {name}={value!r} is not known; choose one of {tuple(known)}')


def _known_settings(cls: Any) -> list[str]:
    """Names of ``__init__``'s arguments, the parents' too where ``**kwargs`` hands them on."""
    known: dict[str, None] = {}
    for ancestor in cls.__mro__:
        if '__init__' not in vars(ancestor):
            continue
        parameters = list(inspect.signature(ancestor.__init__).parameters.values())[1:]
        named = (p.name for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL))
        known.update(dict.fromkeys(named))
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            break
    return list(known)
