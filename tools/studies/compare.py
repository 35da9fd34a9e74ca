"""Methods side by side on the embedded demo: zero-shot, CoOp, PLOT, GalLoP, SOT-GLP, baselines.

    python tools/studies/compare.py
    DATA=/datasets python tools/studies/compare.py --datasets eurosat caltech101

tunes each method's learning rate on validation images, with the same number of tries, measures it
with three seeds on both datasets, and writes work_dirs/compare/compare.{md,json,png}. Baselines of
image embeddings alone have the same shots, seeds and validation images.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import study
from matplotlib.figure import Figure

METHODS = [
    study.Variant('zero-shot', 'zero_shot', learns=False),
    study.Variant('CoOp', 'coop'),
    study.Variant('PLOT', 'plot'),
    study.Variant('GalLoP', 'gallop'),
    study.Variant('SOT-GLP', 'sotglp'),
    study.Variant('SOT-GLP, no projection', 'sotglp_noproj'),
    study.Variant('Tip-Adapter, training-free', 'tip_adapter', learns=False),
    study.Variant('Gaussian discriminant', 'gaussian_discriminant', learns=False),
    study.Variant('linear probe', 'linear_probe', learns=False),
]
NOTE = """
The last three learn no prompts and see image embeddings alone; their settings are chosen on the
same validation images, for each seed, and they have no OOD scores.
"""


def main() -> None:
    """Run what is missing, and write table and plot."""
    args = study.parse_args(__doc__.splitlines()[0], 'work_dirs/compare', seeds=[1, 2, 3])
    methods = study.chosen(METHODS, args.only)
    rows = study.run(methods, args.datasets, args.seeds, args.work_dir, args.workers)
    (args.work_dir / 'compare.json').write_text(json.dumps(rows, indent=1) + '\n')
    text = study.caption(rows) + NOTE + study.table(rows)
    (args.work_dir / 'compare.md').write_text(text)
    write_plot(rows, args.work_dir / 'compare.png')
    print(f'\n{text}\nwritten to {args.work_dir}')


def write_plot(rows: list[dict], file: Path) -> None:
    """Accuracy of the branches, and accuracy against robustness; a row for each dataset."""
    datasets = study.by_dataset(rows)
    figure = Figure(figsize=(15, 4.6 * len(datasets)), layout='constrained')
    grid = figure.subplots(len(datasets), 2, squeeze=False)
    for (bars, plane), (dataset, mine) in zip(grid, datasets.items()):
        _draw_bars(bars, mine, dataset)
        _draw_plane(plane, mine, dataset)
    figure.savefig(file, dpi=110)


def _draw_bars(axes: Any, rows: list[dict], dataset: str) -> None:
    points = pd.DataFrame(
        {
            branch: [
                study.mean_and_deviation(row['metrics'].get(study.COLUMNS[branch]) or [0])
                for row in rows
            ]
            for branch in ('combined', 'global', 'local')
        },
        [row['variant'] for row in rows],
    )
    means, deviations = (points.map(lambda point, part=part: point[part]) for part in (0, 1))
    means.plot.barh(ax=axes, xerr=deviations, width=0.81, capsize=2)
    axes.invert_yaxis()
    axes.set(xlabel='top-1, %', ylabel='', title=dataset)


def _draw_plane(axes: Any, rows: list[dict], dataset: str) -> None:
    """One point a method: right is more accurate, up is better at telling unknown images."""
    rows = [row for row in rows if study.COLUMNS['MCM AUROC'] in row['metrics']]
    if not rows:
        return axes.set_axis_off()
    metrics = [row['metrics'] for row in rows]
    study.draw_numbered(
        axes,
        [row['variant'] for row in rows],
        [each[study.COLUMNS['combined']] for each in metrics],
        [
            each.get(study.COLUMNS['GL-MCM AUROC']) or each[study.COLUMNS['MCM AUROC']]
            for each in metrics
        ],
    )
    axes.set(
        xlabel='top-1, %',
        ylabel='AUROC, % (GL-MCM; MCM without local branch)',
        title=f'{dataset}: accuracy and robustness',
    )


if __name__ == '__main__':
    main()
