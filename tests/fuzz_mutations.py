"""Ways to spoil a file: its bytes, its text, the values in its JSON."""

import io
import json
import random
import zipfile
from typing import Any

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
OTHERS = (None, [], {}, '', 'null', [[]], {'a': [1]}, [None] * 3, '0', ' ')


def mutate(data: bytes, kind: str, rng: random.Random) -> tuple[str, bytes]:
    """A name of what was done, and the new content.

    Args:
        data: The file as it was.
        kind: 'json', 'text', 'binary', or 'archive' for a zip whose checksums are right again.
        rng: Where all chance comes from.
    """
    ways = [_flip, _truncate, _insert, _repeat, _remove, _empty]
    if kind == 'archive':
        ways += [_member] * 12
    elif kind != 'binary':
        ways += [_spoil_line, _spoil_line, _encode, _line_ends, _blanks]
    if kind == 'json':
        ways += [_values] * 12 + [_nest, _key_twice, _same_but_spaced]
    way = rng.choice(ways)
    return way.__name__.strip('_'), way(data, rng)


def _flip(data: bytes, rng: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        spoilt[rng.randrange(len(spoilt))] ^= 1 << rng.randrange(8)
    return bytes(spoilt)


def _member(data: bytes, rng: random.Random) -> bytes:
    """A file of the archive is spoilt, and the archive is whole."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    victim = rng.choice([name for name in content if content[name]])
    content[victim] = rng.choice((_flip, _truncate, _insert, _repeat, _remove))(
        content[victim], rng
    )
    spoilt = io.BytesIO()
    with zipfile.ZipFile(spoilt, 'w') as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return spoilt.getvalue()


def _truncate(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def _insert(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data))
    return data[:place] + rng.randbytes(rng.choice((1, 2, 100))) + data[place:]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:stop] + data[start:stop] + data[stop:]


def _remove(data: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[stop:]


def _empty(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((b'', b'\n', b'\0' * 100, b'\xff\xfe'))


def _spoil_line(data: bytes, rng: random.Random) -> bytes:
    lines = data.decode().splitlines(keepends=True)
    place = rng.randrange(len(lines))
    spoilt = rng.choice((*PATHS, '"', ',', ',,,,', ' ', '\t', 'a b c', '\u2028', '"' * 3, '#'))
    words = lines[place].split(',') if ',' in lines[place] else lines[place].split(' ')
    words[rng.randrange(len(words))] = spoilt
    lines[place] = (',' if ',' in lines[place] else ' ').join(words)
    return ''.join(lines).encode('utf-8', 'surrogatepass')


def _encode(data: bytes, rng: random.Random) -> bytes:
    text = data.decode().replace('a', rng.choice('aäé中'))
    return text.encode(rng.choice(('utf-16', 'utf-8-sig', 'latin-1', 'utf-32')), 'replace')


def _line_ends(data: bytes, rng: random.Random) -> bytes:
    return data.replace(b'\n', rng.choice((b'\r\n', b'\r', b'\n\n', b'')))


def _blanks(data: bytes, rng: random.Random) -> bytes:
    return rng.choice((b'\n', b' ', b'\t')) * 3 + data + b'\n \n'


def _same_but_spaced(data: bytes, rng: random.Random) -> bytes:
    return json.dumps(json.loads(data), indent=rng.choice((None, 1, '\t'))).encode()


def _nest(data: bytes, rng: random.Random) -> bytes:
    opening, closing = rng.choice(((b'[', b']'), (b'{"a":', b'}')))
    depth = rng.choice((5, 2000, 100_000))
    return opening * depth + data + closing * depth


def _key_twice(data: bytes, rng: random.Random) -> bytes:
    key = rng.choice(list(json.loads(data)))
    return data.rstrip()[:-1] + f', {json.dumps(key)}: []}}'.encode()


def _values(data: bytes, rng: random.Random) -> bytes:
    content = json.loads(data)
    for _ in range(rng.choice((1, 1, 1, 3))):
        content = _spoil_value(content, rng)
    return json.dumps(content).encode()


def _spoil_value(value: Any, rng: random.Random) -> Any:
    """One value somewhere in a tree is another one, is gone, or is there twice."""
    if isinstance(value, dict) and value and rng.random() < 0.93:
        key = rng.choice(list(value))
        way = rng.random()
        if way < 0.1:
            return {name: each for name, each in value.items() if name != key}
        if way < 0.2:
            return {**value, f'{key}x': value[key]}
        return {**value, key: _spoil_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.93:
        place, way = rng.randrange(len(value)), rng.random()
        if way < 0.1:
            return value[:place] + value[place + 1 :]
        if way < 0.2:
            return [*value, value[place]]
        if way < 0.3:
            other = rng.randrange(len(value))
            return [value[other] if at == place else each for at, each in enumerate(value)]
        return [*value[:place], _spoil_value(value[place], rng), *value[place + 1 :]]
    return rng.choice((rng.choice(PATHS), rng.choice(NUMBERS), rng.choice(OTHERS)))
