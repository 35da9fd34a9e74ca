"""Is the data complete, readable, and in the layout that the configs expect?

    python tools/check_data.py /datasets
    python tools/check_data.py /datasets --sets dtd eurosat --no-duplicates
    python tools/check_data.py /datasets --download dtd

Every set is 'ok', 'absent', 'incomplete' (something is to be brought) or 'damaged' (something is
there, but is not what it should be). Duplicates, and leakage (one image in test and in another
split), are notes: published sets have some, and they change neither status nor exit status.
Exit status: 0, all sets asked for are ok; 1, one is not; 2, the command line cannot be used.
"""

import argparse
import json
import sys
from pathlib import Path

from ..datasets.known_sets import KNOWN_SETS
from .data_checks import check_set
from .data_download import NotHostedError, download
from .data_report import closing_line, set_lines


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('data_root', type=Path, help='folder of all data, $DATA of the configs')
    names = list(KNOWN_SETS)
    add('--sets', nargs='+', choices=names, metavar='NAME', help=f'of {", ".join(names)}')
    add('--no-decode', action='store_true', help='do not decode the images, only look for them')
    add('--no-duplicates', action='store_true', help='do not look for identical images')
    add(
        '--expected',
        type=Path,
        metavar='FILE.json',
        help='for subsets: {NAME: {"num_classes": C, "counts": {SPLIT: IMAGES}}}, instead of the '
        'numbers of the published sets',
    )
    add('--json', type=Path, metavar='FILE', help='write all that was found, for programs')
    add(
        '--download',
        choices=names,
        metavar='NAME',
        help='check nothing; fetch the images of this set, where torchvision hosts them',
    )
    return parser


def read_expected(file: Path | None) -> dict[str, dict]:
    """Numbers to compare with, for every known set.

    Raises:
        ValueError: The file is not of this form.
        OSError: It cannot be read.
    """
    expected = {
        name: dict(num_classes=known.num_classes, counts=known.counts)
        for name, known in KNOWN_SETS.items()
    }
    given = json.loads(file.read_text(encoding='utf-8')) if file else {}
    for name, numbers in given.items() if isinstance(given, dict) else [('', given)]:
        if name not in expected or not _is_numbers(numbers):
            raise ValueError(
                f'{file}: {name!r}: {numbers!r}; expected {{NAME: {{"num_classes": C, "counts": '
                f'{{SPLIT: IMAGES}}}}}} with NAME of {", ".join(expected)}'
            )
        expected[name] = numbers
    return expected


def _is_numbers(numbers) -> bool:
    return (
        isinstance(numbers, dict)
        and set(numbers) == {'num_classes', 'counts'}
        and type(numbers['num_classes']) is int
        and isinstance(numbers['counts'], dict)
        and all(type(count) is int for count in numbers['counts'].values())
    )


def check(args: argparse.Namespace, expected: dict[str, dict]) -> bool:
    """Check and report; whether all is ok."""
    reports = []
    for name in args.sets or KNOWN_SETS:
        reports.append(
            check_set(
                args.data_root, name, expected[name], not args.no_decode, not args.no_duplicates
            )
        )
        print(set_lines(reports[-1]), flush=True)
    print(closing_line(reports, named=bool(args.sets)))
    good = all(report.status == 'ok' for report in reports)
    if args.json:
        sets = {report.name: report.as_json() for report in reports}
        text = json.dumps(dict(data_root=str(args.data_root), ok=good, sets=sets), indent=2)
        args.json.write_text(text + '\n', encoding='utf-8')
    return good


def run_download(args: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Exit status of ``--download``."""
    try:
        print(download(args.data_root, args.download))
    except NotHostedError as error:
        parser.error(str(error))
    except OSError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Check or download; the exit status."""
    parser = make_parser()
    args = parser.parse_args(arguments)
    args.data_root = args.data_root.expanduser()
    if args.download:
        return run_download(args, parser)
    if not args.data_root.is_dir():
        parser.error(f'{args.data_root} is no folder; expected the folder of all data, $DATA')
    if args.json:
        try:  # now, not after hours of decoding
            args.json.parent.mkdir(parents=True, exist_ok=True)
            args.json.touch()
        except OSError as error:
            parser.error(f'--json {args.json} cannot be written: {error}')
    try:
        expected = read_expected(args.expected)
    except (OSError, ValueError) as error:
        parser.error(f'--expected cannot be used: {error}')
    return 0 if check(args, expected) else 1


if __name__ == '__main__':
    sys.exit(main())
