"""The numbers of a campaign: read from its results, averaged, with their deviation."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .plan import Key
from .published import read_published
from .records import RESULT, read_plan, read_result

COMBINED = 'accuracy/top1'
AVERAGE = 'average'
SHIFT = re.compile(r'accuracy/([^/]+)/top1')
OOD = re.compile(r'ood/([^/]+)/([^/]+)/(auroc|fpr95|aupr)')

EVALUATIONS = ('ood', 'domains')
"""The package's configs that are tested on several sets at once, known before they are done."""


def read_results(work_dir: Path) -> dict[Key, dict]:
    """All results below a folder; an error if one is broken, or two are of the same job."""
    results: dict[Key, dict] = {}
    files: dict[Key, Path] = {}
    for file in sorted(work_dir.rglob(RESULT)):
        result = read_result(file)
        key = result['dataset'], result['shots'], result['seed']
        if key in results:
            raise ValueError(
                f'{file} and {files[key]} are both of {key[0]}, {key[1]} shots, seed {key[2]}; '
                'summarize one campaign at a time'
            )
        results[key], files[key] = result, file
    if not results:
        raise FileNotFoundError(
            f'no {RESULT} below {work_dir}; expected those that sotglp campaign --work-dir '
            f'{work_dir} leaves'
        )
    return results


Seeds = dict[int, float]
"""Value by seed."""


class Numbers:
    """What the tables and the figure say, by dataset, shots, metric and seed.

    'average' is a dataset, too, over seeds that all of ``datasets`` have: those of tables by
    shots, average and figure. A run that was tested for OOD detection or domain shift alone has no
    accuracy to stand there.

    Args:
        results: By (dataset, shots, seed).
        planned: What was asked for; what has no result is in ``missing``.
        order: Datasets in the order to show them; others follow by name.
        metric: Of the first table and the figure.
    """

    def __init__(
        self, results: dict[Key, dict], planned: Iterable[Key], order: Sequence[str], metric: str
    ):
        self.values: dict[tuple[str, int, str], Seeds] = {}
        for (dataset, shots, seed), result in sorted(results.items()):
            for name, value in result['metrics'].items():
                self.values.setdefault((dataset, shots, name), {})[seed] = float(value)
        asked = {*results, *planned}
        rank = {name: number for number, name in enumerate(order)}
        names = {key[0] for key in asked}
        self.everything = sorted(names, key=lambda name: (rank.get(name, len(rank)), name))
        self.shots = sorted({key[1] for key in asked})
        self.count = len(results)
        self.missing = sorted(
            asked - set(results), key=lambda key: (self.everything.index(key[0]), *key[1:])
        )
        self.targets = list(
            dict.fromkeys(t for r in results.values() for t in r.get('targets', ()))
        )
        self.samplings = sorted({r.get('sampling', 'not recorded') for r in results.values()})
        self.metrics = sorted({name for _, _, name in self.values})
        self.datasets = [n for n in self.everything if not self._stands_apart(n, metric)]
        for name in self.metrics:
            for shots in self.shots:
                of_it = [self.of(dataset, shots, name) for dataset in self.datasets]
                self.values[AVERAGE, shots, name] = mean_over(of_it)

    def _stands_apart(self, dataset: str, metric: str) -> bool:
        names = {key[2] for key in self.values if key[0] == dataset}
        if metric in names:
            return False
        return any(map(is_evaluation, names)) if names else dataset in EVALUATIONS

    def of(self, dataset: str, shots: int, metric: str) -> Seeds:
        """By seed; empty where there is none."""
        return self.values.get((dataset, shots, metric), {})

    def runs_with(self, metrics: Sequence[str]) -> list[tuple[str, int]]:
        """(dataset, shots) of results that have one of these metrics, in order."""
        runs = {key[:2] for key in self.values if key[2] in metrics and key[0] != AVERAGE}
        return sorted(runs, key=lambda run: (self.everything.index(run[0]), run[1]))

    def rows(self, metrics: Sequence[str]) -> pd.DataFrame:
        """``dataset, shots, metric, mean, std, n`` of each number that is there; average last."""
        rows = [
            (dataset, shots, metric, *mean_and_deviation(values), len(values))
            for metric in metrics
            for dataset in [*self.everything, AVERAGE]
            for shots in self.shots
            if (values := self.of(dataset, shots, metric))
        ]
        return pd.DataFrame(rows, columns=['dataset', 'shots', 'metric', 'mean', 'std', 'n'])


def mean_over(columns: Sequence[Seeds]) -> Seeds:
    """Mean of several, seed by seed, where each of them has a value."""
    common = set.intersection(*map(set, columns)) if columns else set()
    return {seed: float(np.mean([each[seed] for each in columns])) for seed in sorted(common)}


def mean_and_deviation(values: Seeds) -> tuple[float, float]:
    """Over seeds; the sample standard deviation of a single value is NaN."""
    numbers = list(values.values())
    return float(np.mean(numbers)), float(np.std(numbers, ddof=1)) if numbers[1:] else math.nan


def is_evaluation(metric: str) -> bool:
    """Of one of several sets that a run was tested on."""
    return bool(SHIFT.fullmatch(metric) or OOD.fullmatch(metric))


def read_numbers(work_dir: Path, metric: str) -> Numbers:
    """Of a campaign; an error if no result has the metric."""
    results = read_results(work_dir)
    names = {name for result in results.values() for name in result['metrics']}
    only_others = metric == COMBINED and any(map(is_evaluation, names))
    if metric not in names and not only_others:
        raise ValueError(
            f'no result in {work_dir} has --metric {metric}; there are {sorted(names)}'
        )
    order = read_published()['few_shot'].columns[:-1]
    return Numbers(results, read_plan(work_dir), order, metric)


def text_of(values: Seeds) -> str:
    """E.g. '71.2 ± 0.4 (n=3)'; '' of nothing."""
    if not values:
        return ''
    mean, deviation = mean_and_deviation(values)
    return f'{mean:.1f}{"" if math.isnan(deviation) else f" ± {deviation:.1f}"} (n={len(values)})'


def shots_of(campaigns: dict[str, Numbers]) -> list[int]:
    """Of all campaigns together."""
    return sorted({shots for numbers in campaigns.values() for shots in numbers.shots})


def panels_of(campaigns: dict[str, Numbers]) -> list[str]:
    """Datasets, and their average first where all campaigns are of the same two or more."""
    each = [numbers.datasets for numbers in campaigns.values()]
    datasets = list(dict.fromkeys(name for names in each for name in names))
    same = all(set(names) == set(datasets) for names in each)
    return [AVERAGE, *datasets] if same and len(datasets) > 1 else datasets
