"""Results of a campaign as means and standard deviations over seeds."""

import math
import re
import statistics
from collections.abc import Iterable
from pathlib import Path

from .files import RESULT, read_result

COMBINED = 'accuracy/top1'
BRANCHES = {'accuracy_global/top1': 'global', 'accuracy_local/top1': 'local'}
MEAN_CLASS = 'accuracy/mean_class'
AVERAGE = 'average'
SHIFT = re.compile(r'accuracy/([^/]+)/top1')
OOD = re.compile(r'ood/([^/]+)/([^/]+)/(auroc|fpr95|aupr)')

EVALUATIONS = ('ood', 'domains')
"""The package's configs that are tested on several sets at once, known before they are done."""

Key = tuple[str, int, int]
"""Dataset, shots, seed."""


def read_results(work_dir: Path) -> dict[Key, dict]:
    """All results below a folder.

    Raises:
        FileNotFoundError: There is none.
        ValueError: One is broken, or two are of the same job.
    """
    results, files = {}, {}
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
            f'no {RESULT} below {work_dir}; expected those that tools/run_benchmark.py --work-dir '
            f'{work_dir} leaves'
        )
    return results


def is_evaluation(metric: str) -> bool:
    """Of one of several sets that a run was tested on."""
    return bool(SHIFT.fullmatch(metric) or OOD.fullmatch(metric))


def mean_std(values: list[float]) -> dict:
    """Mean, sample standard deviation (None for one value, or a NaN) and their number."""
    std = statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
    return {'mean': statistics.fmean(values), 'std': std, 'n': len(values)}


class Numbers:
    """What the tables and the figure say.

    Args:
        results: By (dataset, shots, seed).
        planned: What was asked for; what has no result is reported as missing.
        order: Datasets in the order to show them; others follow by name.
        metric: Of the first table and the figure.

    Attributes:
        everything (list[str]): All datasets.
        datasets (list[str]): Those of tables by shots, average and figure: a run that was tested
            for OOD detection or domain shift alone has no accuracy to stand there.
    """

    def __init__(
        self, results: dict[Key, dict], planned: Iterable[Key], order: list[str], metric: str
    ):
        self.results = results
        asked = {*results, *planned}
        rank = {name: number for number, name in enumerate(order)}
        self.everything = sorted(
            {key[0] for key in asked}, key=lambda n: (rank.get(n, len(rank)), n)
        )
        self.datasets = [name for name in self.everything if not self._stands_apart(name, metric)]
        self.shots = sorted({key[1] for key in asked})
        self.missing = sorted(
            asked - set(results), key=lambda key: (self.everything.index(key[0]), key[1:])
        )
        self.samplings = sorted({r.get('sampling', 'not recorded') for r in results.values()})

    def _stands_apart(self, dataset: str, metric: str) -> bool:
        found = [r['metrics'] for key, r in self.results.items() if key[0] == dataset]
        names = set().union(*found)
        if metric in names:
            return False
        return any(map(is_evaluation, names)) if found else dataset in EVALUATIONS

    def by_seed(self, dataset: str, shots: int, metric: str) -> dict[int, float]:
        """A metric of each seed that has it."""
        return {
            key[2]: self.results[key]['metrics'][metric]
            for key in sorted(self.results)
            if key[:2] == (dataset, shots) and metric in self.results[key]['metrics']
        }

    def cell(self, dataset: str, shots: int, metric: str) -> dict | None:
        """Mean and deviation over seeds, or None; ``dataset`` may be 'average'."""
        if dataset == AVERAGE:
            return self._average(shots, metric)
        values = self.by_seed(dataset, shots, metric)
        return mean_std(list(values.values())) if values else None

    def lacking(self, shots: int, metric: str) -> list[str]:
        """Datasets without the metric; while there is one, there is no average."""
        return [name for name in self.datasets if not self.by_seed(name, shots, metric)]

    def common_seeds(self, shots: int, metric: str) -> list[int]:
        """Seeds that all datasets have: an average mixes none that some lack."""
        each = [set(self.by_seed(name, shots, metric)) for name in self.datasets]
        return sorted(set.intersection(*each)) if each else []

    def _average(self, shots: int, metric: str) -> dict | None:
        seeds = self.common_seeds(shots, metric)
        columns = [self.by_seed(name, shots, metric) for name in self.datasets]
        return (
            mean_std([statistics.fmean(c[s] for c in columns) for s in seeds]) if seeds else None
        )

    def metrics_like(self, pattern: re.Pattern) -> list[str]:
        """Names of metrics that some result has, in order."""
        names = {name for result in self.results.values() for name in result['metrics']}
        return sorted(name for name in names if pattern.fullmatch(name))

    def as_dict(self, metrics: list[str]) -> dict:
        """For summary.json."""
        extra = [m for m in self.metrics_like(SHIFT) + self.metrics_like(OOD) if m not in metrics]
        rows = list(self.rows([*metrics, *extra]))
        return {
            'datasets': self.everything,
            'shots': self.shots,
            'sampling': self.samplings,
            'missing': [list(key) for key in self.missing],
            'rows': rows,
        }

    def rows(self, metrics: list[str]) -> Iterable[dict]:
        """One for each number that is there; the average last."""
        for metric in metrics:
            for dataset in [*self.everything, AVERAGE]:
                for shots in self.shots:
                    cell = self.cell(dataset, shots, metric)
                    if cell:
                        yield {'dataset': dataset, 'shots': shots, 'metric': metric, **cell}
