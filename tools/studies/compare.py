"""Methods side by side on the embedded demo: zero-shot, CoOp, PLOT, GalLoP, SOT-GLP.

    python tools/studies/compare.py

tunes each method's learning rate on validation images, with the same number of tries, measures it
with three seeds on both datasets, and writes work_dirs/compare/compare.{md,json,png}.
"""

import argparse
import json
from pathlib import Path

from compare_report import table, write_plot
from tuned_runs import LEARNING_RATES, Variant, study

METHODS = [
    Variant('zero-shot', 'zero_shot', learns=False),
    Variant('CoOp', 'coop'),
    Variant('PLOT', 'plot'),
    Variant('GalLoP', 'gallop'),
    Variant('SOT-GLP', 'sotglp'),
    Variant('SOT-GLP, no projection', 'sotglp_noproj'),
]


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/compare'),
        help='where runs are kept, and table and figure written',
    )
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[1, 2, 3], help='of shots, prompts and order'
    )
    parser.add_argument(
        '--datasets', nargs='+', default=['scenes', 'digits'], choices=['scenes', 'digits']
    )
    parser.add_argument('--workers', type=int, default=2, help='runs at a time')
    return parser.parse_args()


def main() -> None:
    """Run what is missing, and write table and plot."""
    args = parse_args()
    rows = study(METHODS, args.datasets, args.seeds, args.work_dir, args.workers)
    (args.work_dir / 'compare.json').write_text(json.dumps(rows, indent=1) + '\n')
    text = table(rows, args.seeds, LEARNING_RATES)
    (args.work_dir / 'compare.md').write_text(text)
    write_plot(rows, args.work_dir / 'compare.png')
    print(f'\n{text}\nwritten to {args.work_dir}')


if __name__ == '__main__':
    main()
