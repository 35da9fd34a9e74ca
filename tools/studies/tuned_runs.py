"""A fair comparison: as many tries on validation images for every variant, then seeds."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from sotglp_mm.demo.runs import DemoRun, run_all

LEARNING_RATES = (0.03, 0.1, 0.3, 1.0)
"""What every variant is tuned over, with one seed, on validation images."""

EPOCHS = {'scenes': 20, 'digits': 30}
LEARNING_RATE = 'optim_wrapper.optimizer.lr'


class Variant(NamedTuple):
    """A line of a table."""

    name: str
    method: str
    """Stem of a config of ``configs/demo``."""

    options: dict = {}
    """Dotted config keys and their values."""

    learns: bool = True


def study(
    variants: list[Variant], datasets: list[str], seeds: list[int], root: Path, workers: int
) -> list[dict]:
    """Tune, then measure.

    Returns:
        list[dict]: For each dataset and variant ``dict(dataset, variant, method, options,
        learning_rate, tried, metrics)``: ``tried`` is the validation accuracy of each learning
        rate, ``metrics`` has a list of values, one a seed, for each key.
    """
    pairs = [(dataset, variant) for dataset in datasets for variant in variants]
    tries = [
        _run(dataset, variant, seeds[0], 'val', rate)
        for dataset, variant in pairs
        for rate in LEARNING_RATES
        if variant.learns
    ]
    tuned = run_all(tries, root, workers, 'tuning')
    accuracy = {(t['dataset'], t['method'], t['options']): t for t in tuned}
    chosen, tried = {}, {}
    for dataset, variant in pairs:
        found = {
            rate: accuracy[dataset, variant.method, _options(variant, rate)]['metrics'][
                'accuracy/top1'
            ]
            for rate in (LEARNING_RATES if variant.learns else ())
        }
        tried[dataset, variant.name] = found
        chosen[dataset, variant.name] = max(found, key=found.get) if found else None
    finals = [
        _run(dataset, variant, seed, 'test', chosen[dataset, variant.name])
        for dataset, variant in pairs
        for seed in seeds
    ]
    results = iter(run_all(finals, root, workers, 'testing'))
    return [
        dict(
            dataset=dataset,
            variant=variant.name,
            method=variant.method,
            options=variant.options,
            learning_rate=chosen[dataset, variant.name],
            tried=tried[dataset, variant.name],
            metrics=_lists([next(results)['metrics'] for _ in seeds]),
        )
        for dataset, variant in pairs
    ]


def mean_and_deviation(values: list[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 of a single value)."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _run(dataset: str, variant: Variant, seed: int, split: str, rate: float | None) -> DemoRun:
    epochs = EPOCHS[dataset] if variant.learns else 0
    return DemoRun(dataset, variant.method, seed, split, epochs, _options(variant, rate))


def _options(variant: Variant, rate: float | None) -> str:
    tuned = {} if rate is None else {LEARNING_RATE: rate}
    return json.dumps({**variant.options, **tuned}, sort_keys=True)


def _lists(metrics: list[dict]) -> dict[str, list[float]]:
    return {key: [each[key] for each in metrics if key in each] for key in metrics[0]}
