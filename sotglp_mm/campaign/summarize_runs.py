"""Tables and a figure of what tools/run_benchmark.py has done so far.

    python tools/summarize_runs.py work_dirs/benchmark

Writes summary.md, summary.csv, summary.json and accuracy_vs_shots.png. The same results give the
same files, byte for byte.
"""

import argparse
import csv
import io
import json
import sys
from pathlib import Path

from .files import read_plan
from .summary_numbers import BRANCHES, COMBINED, MEAN_CLASS, Numbers, is_evaluation, read_results
from .summary_plot import plot
from .summary_published import read_published
from .summary_tables import as_markdown

PUBLISHED = Path(__file__).with_name('published.json')
FIELDS = ['dataset', 'shots', 'metric', 'mean', 'std', 'n']


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('work_dir', type=Path, help='--work-dir of the campaign')
    parser.add_argument('--out', type=Path, help='folder of the files; default: WORK_DIR')
    parser.add_argument(
        '--metric',
        default=COMBINED,
        help='of the first table, the figure and the comparison; default: %(default)s',
    )
    parser.add_argument('--published', type=Path, default=PUBLISHED, help='published results')
    args = parser.parse_args(arguments)
    args.out = args.out or args.work_dir
    return args


def as_csv(rows: list[dict]) -> str:
    """One line a number; std is empty where there is one seed."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def read_numbers(args: argparse.Namespace, order: list[str]) -> Numbers:
    """Results of the campaign.

    Raises:
        FileNotFoundError: There are none.
        ValueError: One is broken, or none has the metric.
    """
    results = read_results(args.work_dir)
    known = {name for result in results.values() for name in result['metrics']}
    others_only = args.metric == COMBINED and any(map(is_evaluation, known))
    if args.metric not in known and not others_only:
        raise ValueError(
            f'no result in {args.work_dir} has --metric {args.metric}; there are {sorted(known)}'
        )
    return Numbers(results, read_plan(args.work_dir), order, args.metric)


def write(numbers: Numbers, published: dict, args: argparse.Namespace) -> None:
    """All files; without matplotlib, or a number to draw, there is no figure."""
    summary = numbers.as_dict(list(dict.fromkeys([args.metric, *BRANCHES, MEAN_CLASS])))
    texts = {
        'summary.md': as_markdown(numbers, args.metric, published),
        'summary.csv': as_csv(summary['rows']),
        'summary.json': json.dumps(summary, indent=2) + '\n',
    }
    args.out.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (args.out / name).write_text(text, encoding='utf-8')
        print(args.out / name)
    figure = args.out / 'accuracy_vs_shots.png'
    if not numbers.datasets:
        print(f'{figure} is left out: no result has {args.metric}')
        return
    try:
        plot(numbers, args.metric, figure)
    except ImportError:
        print(f"{figure} is left out: it needs matplotlib, pip install '.[plot]'")
    else:
        print(figure)


def main(arguments: list[str] | None = None) -> None:
    """Summarize."""
    args = parse_args(arguments)
    try:
        published = read_published(args.published)
        numbers = read_numbers(args, published['datasets'])
    except (ValueError, OSError) as error:
        sys.exit(f'summarize_runs: {error}')
    write(numbers, published, args)


if __name__ == '__main__':
    main()
