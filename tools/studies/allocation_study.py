"""Does optimal transport do anything? Settings of the allocation, on the demo's two datasets.

    python tools/studies/allocation_study.py

tunes each variant's learning rate on validation images, with the same number of tries, measures
it with five seeds, and writes tables and plots; docs/allocation.md says what came out. It takes
an hour or so on two idle cores, and goes on where it was when it is started again.
"""

import argparse
import json
from pathlib import Path

from allocation_report import write_report
from tuned_runs import Variant, study


def _variant(
    name: str,
    *,
    rank: str = 'mean',
    k: int = 10,
    epsilon: float | None = 0.1,
    reduction: str = 'sum',
    init: str = 'template',
    method: str = 'sotglp',
    prompts: int = 4,
    **loss,
) -> Variant:
    """SOT-GLP with other settings; ``epsilon`` None is the uniform plan."""
    if epsilon is None:
        loss = dict(_delete_=True, type='UniformAllocationLoss', reduction=reduction)
    else:
        loss = dict(epsilon=epsilon, reduction=reduction, **loss)
    options = {
        'model.head.selector': dict(k=k, rank=rank),
        'model.head.local_loss': loss,
        'model.head.local_init': init,
        'model.head.num_local_prompts': prompts,
    }
    return Variant(name, method, options)


SOFT = dict(rank='logsumexp', k=20)
CAPPED = dict(_delete_=True, type='CappedAllocationLoss', capacity=20)
MAIN = [
    Variant('paper', 'sotglp'),
    _variant('paper, uniform plan', epsilon=None, reduction='mean', init='random'),
    _variant('mean 10, OT 0.1'),
    _variant('mean 10, uniform', epsilon=None),
    # the same two plans behind either ranking, all else equal
    _variant('mean 20, OT 0.05', k=20, epsilon=0.05),
    _variant('mean 20, uniform', k=20, epsilon=None),
    _variant('soft 20, OT 0.05', **SOFT, epsilon=0.05),
    _variant('soft 20, uniform', **SOFT, epsilon=None),
    # other supports and a more decided plan
    _variant('soft 10, OT 0.05', rank='logsumexp', epsilon=0.05),
    _variant('soft 20, OT 0.02', **SOFT, epsilon=0.02),
    _variant('all, capped 20', k='all', epsilon=0.05, **CAPPED),
    Variant('GalLoP', 'gallop'),
]
MORE = [
    _variant('mean 10, OT 0.1, random start', init='random'),
    _variant('soft 40, OT 0.05', rank='logsumexp', k=40, epsilon=0.05),
    _variant('soft 20, OT 0.5 sd', **SOFT, epsilon=0.5, relative=True),
    _variant('soft 20, 1 prompt', **SOFT, epsilon=0.05, prompts=1),
    _variant('soft 20, OT 0.05, 2 prompts', **SOFT, epsilon=0.05, prompts=2),
    _variant('soft 20, uniform, 2 prompts', **SOFT, epsilon=None, prompts=2),
    _variant('soft 20, OT 0.05, no projection', **SOFT, epsilon=0.05, method='sotglp_noproj'),
    _variant('soft 20, uniform, no projection', **SOFT, epsilon=None, method='sotglp_noproj'),
]
VARIANTS = {'scenes': MAIN + MORE, 'digits': MAIN}
"""The scenes are made of parts, so the settings are mapped there."""


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--work-dir',
        type=Path,
        default=Path('work_dirs/allocation'),
        help='where runs are kept, and tables and figures written',
    )
    parser.add_argument(
        '--seeds', type=int, nargs='+', default=[1, 2, 3, 4, 5], help='of shots, prompts and order'
    )
    parser.add_argument(
        '--datasets', nargs='+', default=list(VARIANTS), choices=list(VARIANTS), help='of the demo'
    )
    parser.add_argument('--workers', type=int, default=2, help='runs at a time')
    return parser.parse_args()


def main() -> None:
    """Run what is missing, and write the report."""
    args = parse_args()
    rows = []
    for dataset in args.datasets:
        variants = VARIANTS[dataset]
        rows += study(variants, [dataset], args.seeds, args.work_dir, args.workers)
    (args.work_dir / 'allocation.json').write_text(json.dumps(rows, indent=1) + '\n')
    write_report(rows, args.work_dir)
    print(f'written to {args.work_dir}')


if __name__ == '__main__':
    main()
