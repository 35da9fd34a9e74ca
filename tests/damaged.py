"""Ways to damage a file, for hypothesis: its bytes, its text, the values in its JSON."""

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

PATHS = (
    '../outside.jpg',
    '/etc/passwd',
    'a/../../outside.jpg',
    '..\\outside.jpg',
    'x\0y.jpg',
    'x' * 300 + '.jpg',
    '\ud800.jpg',
    '',
    '.',
    '~/x.jpg',
)
NUMBERS = (-1, 10**6, 10**12, 10**30, 2**63, 0.5, float('nan'), float('inf'), True, 1e308)
OTHERS = (None, [], {}, 'null', [[]], {'a': [1]}, [None] * 3, '0', ' ')
WORDS = (*PATHS, '"', ',', ',,,,', ' ', '\t', 'a b c', '\u2028', '"' * 3, '#')
VALUES = st.sampled_from([*PATHS, *NUMBERS, *OTHERS])


def damaged(good: bytes, kind: str) -> st.SearchStrategy[bytes]:
    """Contents that a file may have instead of its good one.

    Args:
        good: The file as it was.
        kind: 'json', 'text', 'binary', or 'archive' for a zip whose checksums are right again.
    """
    ways = [_bytes(good)]
    if kind == 'archive':
        ways += [_members(good)] * 3
    elif kind != 'binary':
        ways.append(_lines(good))
    if kind == 'json':
        ways += [_values(json.loads(good))] * 3 + [_syntax(good)]
    return st.one_of(ways)


def _bytes(good: bytes) -> st.SearchStrategy[bytes]:
    place = st.integers(0, len(good) - 1)
    return st.one_of(
        st.lists(st.tuples(place, st.integers(0, 7)), min_size=1, max_size=8, unique=True).map(
            lambda bits: _flip(good, bits)
        ),
        place.map(lambda stop: good[:stop]),
        st.builds(lambda at, new: good[:at] + new + good[at:], place, st.binary(min_size=1)),
        st.builds(lambda a, b: good[:b] + good[a:], place, place),  # a part twice, or missing
        st.sampled_from((b'', b'\n', b'\0' * 100, b'\xff\xfe')),
    )


def _flip(data: bytes, bits: list[tuple[int, int]]) -> bytes:
    flipped = bytearray(data)
    for place, bit in bits:
        flipped[place] ^= 1 << bit
    return bytes(flipped)


def _members(good: bytes) -> st.SearchStrategy[bytes]:
    """A file in the archive is damaged, and the archive is not."""
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}

    def packed(name: str, part: bytes) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, 'w') as archive:
            for each, data in {**content, name: part}.items():
                archive.writestr(each, data)
        return out.getvalue()

    names = st.sampled_from([name for name in content if content[name]])
    return names.flatmap(lambda name: _bytes(content[name]).map(lambda part: packed(name, part)))


def _lines(good: bytes) -> st.SearchStrategy[bytes]:
    text = good.decode()
    lines = text.splitlines(keepends=True)

    def replace(place: int, word: int, new: str) -> bytes:
        comma = ',' if ',' in lines[place] else ' '
        words = lines[place].split(comma)
        words[word % len(words)] = new
        changed = [*lines[:place], comma.join(words), *lines[place + 1 :]]
        return ''.join(changed).encode('utf-8', 'surrogatepass')

    encodings = st.sampled_from(('utf-16', 'utf-8-sig', 'latin-1', 'utf-32'))
    ends = st.sampled_from((b'\r\n', b'\r', b'\n\n', b''))
    return st.one_of(
        st.builds(
            replace, st.integers(0, len(lines) - 1), st.integers(0, 99), st.sampled_from(WORDS)
        ),
        st.builds(
            lambda new, name: text.replace('a', new).encode(name, 'replace'),
            st.sampled_from('aäé中'),
            encodings,
        ),
        ends.map(lambda end: good.replace(b'\n', end)),
        st.sampled_from((b'\n', b' ', b'\t')).map(lambda blank: blank * 3 + good + b'\n \n'),
    )


def _syntax(good: bytes) -> st.SearchStrategy[bytes]:
    pairs = st.sampled_from(((b'[', b']'), (b'{"a":', b'}')))
    depths = st.sampled_from((5, 2000, 100_000))
    keys = st.sampled_from(list(json.loads(good)))
    return st.one_of(
        st.builds(lambda pair, n: pair[0] * n + good + pair[1] * n, pairs, depths),
        keys.map(lambda key: good.rstrip()[:-1] + f', {json.dumps(key)}: []}}'.encode()),
        st.sampled_from((None, 1, '\t')).map(
            lambda indent: json.dumps(json.loads(good), indent=indent).encode()
        ),
    )


def _values(content: Any) -> st.SearchStrategy[bytes]:
    """One value somewhere in the tree is another one, is missing, or is there twice."""
    places = st.sampled_from(list(_places(content)))
    return st.builds(_changed, st.just(content), places, st.integers(0, 5), VALUES).map(
        lambda changed: json.dumps(changed).encode()
    )


def _places(value: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from _places(value[key], (*path, key))


def _changed(value: Any, path: tuple, way: int, new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    changed = value.copy()
    if rest or way > 1:
        changed[key] = _changed(value[key], tuple(rest), way, new)
    elif way == 0:
        del changed[key]
    elif isinstance(value, dict):
        changed[f'{key}x'] = value[key]
    else:
        changed.append(value[key])
    return changed
