"""Spoil the files that users bring, thousands of times, and see what the readers say.

    python tests/fuzz_readers.py --inputs 20000 --seed 8

A reader must answer with an error of ours, which names the file, or with what the file says:
never with a traceback from the depths, a wrong label, a path outside of the data, or not at all.
Exit status 0 only then; what was found is kept in a folder.
"""

import argparse
import gc
import logging
import random
import shutil
import signal
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_mutations import mutate
from fuzz_target import Target
from fuzz_targets import TARGETS, code_in_pickles, digest

SECONDS = 5
"""For one file."""

OURS = (ValueError, FileNotFoundError)
LONGEST = 2000
"""Of a message."""


class TookTooLong(BaseException):
    """No ``except Exception`` of a reader may swallow it."""


def stop(signum: int, frame: object) -> None:
    raise TookTooLong


def judge(target: Target, folder: Path) -> tuple[str, str]:
    """'refused', 'read' or 'FOUND', and why."""
    seconds = SECONDS * target.cost
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        found = target.read(folder)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except OURS as error:
        return _judge_error(target, folder, error)
    except TookTooLong:
        return 'FOUND', f'no answer in {seconds} s'
    except Exception as error:
        return 'FOUND', f'{type(error).__name__}: {error}'
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        wrong = target.wrong(folder, found)
    except Exception as error:  # the plain reading fails where ours did not
        wrong = f'read, although {type(error).__name__}: {error}'
    return ('FOUND', f'wrong answer: {wrong}') if wrong else ('read', '')


def _judge_error(target: Target, folder: Path, error: Exception) -> tuple[str, str]:
    if type(error) in (UnicodeDecodeError, UnicodeEncodeError):
        return 'FOUND', f'{type(error).__name__}: {error}'
    if Path(target.file).name not in str(error) and str(folder) not in str(error):
        return 'FOUND', f'the file is not named: {error}'
    if len(str(error)) > LONGEST:
        return 'FOUND', f'a message of {len(str(error))} characters: {str(error)[:200]}'
    return 'refused', str(error)


def fuzz(name: str, target: Target, inputs: int, seed: int, folder: Path, keep: Path) -> Counter:
    """Spoil the file so often; what came of it."""
    rng = random.Random(f'{seed} {name}')
    here = folder / name.replace(' ', '_') / 'data'
    target.prepare(here)
    file = here / target.file
    good = file.read_bytes()
    assert judge(target, here) == ('read', ''), f'{name}: the good file'
    counts: Counter = Counter()
    for _ in tqdm(range(inputs), name.rjust(14), leave=False):
        way, data = mutate(good, target.kind, rng)
        file.write_bytes(data)
        verdict, why = judge(target, here)
        counts[verdict] += 1
        if verdict == 'FOUND':
            kept = keep / f'{digest(data)}_{file.name}'
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(data)
            tqdm.write(f'{name}, {way}: {why[:300]}\n    {kept}')
    file.write_bytes(good)
    return counts


def executed(folder: Path) -> list[str]:
    """Readers that ran the code in a file, or did not refuse it."""
    canary = folder / 'canary'
    bad = []
    for name, read in code_in_pickles(folder / 'code', canary).items():
        try:
            read()
            bad.append(f'{name}: not refused')
        except Exception as error:
            if type(error) not in OURS:
                bad.append(f'{name}: {type(error).__name__}: {error}')
        if canary.exists():
            bad.append(f'{name}: ran the code')
            canary.unlink()
    return bad


def main() -> None:
    """Fuzz all readers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--inputs', type=int, default=20_000, help='of all readers together')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--keep', type=Path, default=Path('work_dirs/fuzz'))
    args = parser.parse_args()
    warnings.simplefilter('ignore')  # of Pillow, about what it still could read
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, stop)
    gc.freeze()  # MMEngine collects garbage for every dataset: let it not look at torch each time
    folder = Path(tempfile.mkdtemp(prefix='fuzz_'))
    total: Counter = Counter()
    each = -(-args.inputs // len(TARGETS))
    for name, target in TARGETS.items():
        own = -(-each // target.cost)
        counts = fuzz(name, target, own, args.seed, folder, args.keep)
        total += counts
        print(f'{name}: {own} inputs, {counts["refused"]} refused, {counts["read"]} read')
    ran = executed(folder)
    shutil.rmtree(folder)
    print(
        f'{sum(total.values())} inputs to {len(TARGETS)} readers: {total["refused"]} refused by '
        f'name, {total["read"]} read as they are, {total["FOUND"]} findings; '
        f'code in pickles: {ran or "never run, always refused"}'
    )
    sys.exit(bool(total['FOUND'] or ran))


if __name__ == '__main__':
    main()
