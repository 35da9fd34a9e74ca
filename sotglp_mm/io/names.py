"""Comparing names of classes as people, and CLIP, read them."""

import unicodedata
from collections.abc import Iterable, Sequence


def composed(name: str) -> str:
    """Unicode's composed form (NFC): names that look equal are equal text."""
    return unicodedata.normalize('NFC', name)


def is_text(name: str) -> bool:
    """Whether the name of a file is UTF-8; Python has other bytes as lone surrogates."""
    return not any('\ud800' <= character <= '\udfff' for character in name)


def folded(name: str) -> str:
    """Without capitals, underscores, double blanks and Unicode's compatibility forms."""
    text = unicodedata.normalize('NFKC', name).casefold().replace('_', ' ')
    return ' '.join(text.split())


def shown(items: Iterable[str], limit: int = 3) -> str:
    """The first few, quoted, and how many more there are."""
    return some_of(list(map(repr, items)), limit)


def some_of(items: Sequence[str], limit: int = 3) -> str:
    """The first few, and how many more there are."""
    more = len(items) - limit
    return ', '.join(items[:limit]) + (f' and {more} more' if more > 0 else '')
