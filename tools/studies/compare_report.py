"""Table and plot of compare.py, and of allocation_study.py."""

from collections.abc import Sequence
from pathlib import Path

from tuned_runs import mean_and_deviation

COLUMNS = {
    'combined': 'accuracy/known/top1',
    'global': 'accuracy_global/known/top1',
    'local': 'accuracy_local/known/top1',
    'MCM AUROC': 'ood/mcm_T1/unseen/auroc',
    'MCM FPR95': 'ood/mcm_T1/unseen/fpr95',
    'GL-MCM AUROC': 'ood/gl_mcm_T1/unseen/auroc',
    'GL-MCM FPR95': 'ood/gl_mcm_T1/unseen/fpr95',
}


def table(
    rows: list[dict],
    seeds: Sequence[int],
    learning_rates: Sequence[float],
    columns: dict[str, str] = COLUMNS,
    percent: bool = True,
) -> str:
    """Markdown, a table for each dataset."""
    text = (
        f'Mean ± standard deviation over {len(seeds)} seeds, in percent; OOD scores with '
        f'temperature 1. Learning rates out of {", ".join(map(str, learning_rates))}, chosen for '
        'each line on validation images of the first seed.\n'
        if percent
        else ''
    )
    for dataset in dict.fromkeys(row['dataset'] for row in rows):
        text += (
            f'\n| {dataset} | {" | ".join(columns)} | lr |\n|---|{"---:|" * len(columns)}---:|\n'
        )
        for row in rows:
            if row['dataset'] == dataset:
                cells = [_cell(row['metrics'].get(key), percent) for key in columns.values()]
                text += (
                    f'| {row["variant"]} | {" | ".join(cells)} | {row["learning_rate"] or ""} |\n'
                )
    return text


def _cell(values: list[float] | None, percent: bool) -> str:
    if not values:
        return ''
    mean, deviation = mean_and_deviation(values)
    return f'{mean:.1f} ± {deviation:.1f}' if percent else f'{mean:.2f} ± {deviation:.2f}'


def write_plot(rows: list[dict], file: Path) -> None:
    """Accuracy of the branches, and accuracy against robustness; a row for each dataset."""
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(row['dataset'] for row in rows))
    figure = Figure(figsize=(15, 4.6 * len(datasets)), layout='constrained')
    axes = figure.subplots(len(datasets), 2, squeeze=False)
    for (bars, plane), dataset in zip(axes, datasets):
        mine = [row for row in rows if row['dataset'] == dataset]
        _draw_bars(bars, mine, dataset)
        _draw_plane(plane, mine, dataset)
    figure.savefig(file, dpi=110)


def _draw_bars(axes, rows: list[dict], dataset: str) -> None:
    height = 0.27
    for number, branch in enumerate(('combined', 'global', 'local')):
        points = [mean_and_deviation(row['metrics'].get(COLUMNS[branch]) or [0]) for row in rows]
        places = [place + (number - 1) * height for place in range(len(rows))]
        means, deviations = zip(*points)
        axes.barh(places, means, height, xerr=deviations, label=branch, capsize=2)
    axes.set_yticks(range(len(rows)), [row['variant'] for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel='top-1, %', title=dataset)
    axes.legend()


def _draw_plane(axes, rows: list[dict], dataset: str) -> None:
    """One point a method: right is more accurate, up is better at telling unknown images."""
    metrics = [row['metrics'] for row in rows]
    draw_numbered(
        axes,
        [row['variant'] for row in rows],
        [each[COLUMNS['combined']] for each in metrics],
        [each.get(COLUMNS['GL-MCM AUROC']) or each[COLUMNS['MCM AUROC']] for each in metrics],
    )
    axes.set(
        xlabel='top-1, %',
        ylabel='AUROC, % (GL-MCM; MCM without local branch)',
        title=f'{dataset}: accuracy and robustness',
    )


def draw_numbered(
    axes, names: Sequence[str], x: Sequence[list[float]], y: Sequence[list[float]]
) -> None:
    """A number at each point, means of values, and the names in a list beside the axes.

    Names at the points would lie over each other, and leave the axes.
    """
    for number, (name, *values) in enumerate(zip(names, x, y), start=1):
        (x_mean, x_error), (y_mean, y_error) = map(mean_and_deviation, values)
        colour = f'C{number % 10}'
        axes.errorbar(
            x_mean, y_mean, xerr=x_error, yerr=y_error, color=colour, alpha=0.5, capsize=2
        )
        axes.plot(x_mean, y_mean, 'o', color=colour, label=f'{number}  {name}')
        axes.annotate(
            str(number), (x_mean, y_mean), xytext=(4, 4), textcoords='offset points', size=9
        )
    axes.margins(0.08)
    axes.grid(alpha=0.3)
    axes.legend(loc='upper left', bbox_to_anchor=(1.01, 1), borderaxespad=0, fontsize=8)
