"""Class names that CLIP reads as one: their prompts are equal, and so are their scores."""

import logging
from collections.abc import Sequence

from mmengine.logging import print_log

from ..io.names import shown

KNOWN_PAIRS = ('missile', 'sunglasses')
"""Each is the name of two of ImageNet's classes."""


def warn_of_equal_prompts(class_names: Sequence[str], tokens: Sequence[Sequence[int]]) -> None:
    """Name the classes that have equal tokens, but for ImageNet's two pairs.

    Capitals, HTML entities and blanks are lost in CLIP's tokenizer, and underscores before it.
    """
    by_tokens: dict[tuple, list[str]] = {}
    for name, ids in zip(class_names, tokens, strict=True):
        by_tokens.setdefault(tuple(ids), []).append(name)
    groups = [names for names in by_tokens.values() if len(names) > 1]
    groups = [names for names in groups if set(names) - set(KNOWN_PAIRS)]
    if groups:
        print_log(
            f'CLIP cannot tell {len(groups)} groups of classes apart, their names have the same '
            f'tokens: {"; ".join(shown(names) for names in groups[:3])}. Give them other names.',
            logger='current',
            level=logging.WARNING,
        )
