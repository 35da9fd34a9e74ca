"""Byte-pair merges by frequency, for open_clip's SimpleTokenizer."""

from collections import Counter, defaultdict
from collections.abc import Mapping

Pair = tuple[str, str]


def frequent_merges(words: Mapping[str, int], count: int) -> list[Pair]:
    """The `count` merges of the commonest neighbours, each after those before it.

    Args:
        words: How often each word occurs.
        count: Merges; fewer where every word is a single piece before.
    """
    pieces = {word: [*word[:-1], word[-1] + '</w>'] for word in words}
    pairs: Counter[Pair] = Counter()
    holders: dict[Pair, set[str]] = defaultdict(set)

    def add(word: str, sign: int) -> None:
        for pair in zip(pieces[word], pieces[word][1:]):
            pairs[pair] += sign * words[word]
            holders[pair].add(word)

    for word in pieces:
        add(word, 1)
    merges: list[Pair] = []
    while len(merges) < count:
        best = max(pairs, key=lambda pair: (pairs[pair], pair), default=None)
        if best is None or pairs[best] <= 0:
            break
        merges.append(best)
        for word in holders.pop(best):
            add(word, -1)
            pieces[word] = _join(pieces[word], best)
            add(word, 1)
    return merges


def _join(pieces: list[str], merge: Pair) -> list[str]:
    joined: list[str] = []
    index = 0
    while index < len(pieces):
        both = tuple(pieces[index : index + 2]) == merge
        joined.append(''.join(merge) if both else pieces[index])
        index += 1 + both
    return joined
