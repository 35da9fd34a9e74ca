"""How time and memory of a training step grow with C, B, K and N."""

import math
from argparse import Namespace
from collections.abc import Callable, Sequence

from tqdm import tqdm

SWEPT = dict(classes='C', batch='B', k='K', local_prompts='N')
"""Settings that are swept, one at a time, and their letters."""

GROWING = ('step_s', 'peak_gb')
"""Figures that a fit is made for."""

FITTED = dict(classes=GROWING, batch=GROWING) | dict.fromkeys(
    ('k', 'local_prompts'), ('local_s', *GROWING)
)
"""The same, by setting. Every prompt is encoded, so a step grows with N; the local branch need not
do so, nor with K."""

REGIMES = {'all kept': lambda share: share == 0, 'text recomputed': lambda share: share > 0}
"""By the share of the prompts that are encoded twice: beyond some number of classes, memory is
saved at the price of time, and each further class costs more."""


def scaling(spec: Namespace, measure: Callable[[Namespace], dict]) -> dict:
    """Measure around one configuration and fit.

    Args:
        spec: The base; ``factors`` multiply one setting after the other, ``class_factors`` C.
        measure: Figures of a training step, in a process of its own.

    Returns:
        dict: ``sweeps``, by setting: ``values``, each figure of ``GROWING`` and all phases as
        lists, and ``fits``; for C ``regimes``, too, with fits of their own points; ``base``, all
        figures of the base.
    """
    points = {name: sweep_values(name, spec) for name in SWEPT}
    specs = {(name, value): changed(spec, name, value) for name in SWEPT for value in points[name]}
    found: dict[tuple, dict] = {}
    for each in tqdm([spec, *specs.values()], desc='configurations', disable=spec.quiet):
        if _sizes(each) not in found:  # the base is a point of every sweep
            found[_sizes(each)] = measure(each)
    base = found[_sizes(spec)]
    sweeps = {}
    for name, values in points.items():
        rows = [found[_sizes(specs[name, value])] for value in values]
        sweeps[name] = {'values': values, **_columns(rows)}
        sweeps[name]['fits'] = {key: fit(values, sweeps[name][key]) for key in FITTED[name]}
    sweeps['classes']['regimes'] = regimes(sweeps['classes'])
    return dict(
        sweeps=sweeps, base=base, machine=base.pop('machine'), versions=base.pop('versions')
    )


def sweep_values(name: str, spec: Namespace) -> list[int]:
    """The base's value times each factor, at least 1, without repeats, ascending."""
    base = getattr(spec, name)
    factors = spec.class_factors if name == 'classes' else spec.factors
    return sorted({max(1, round(base * factor)) for factor in factors})


def changed(spec: Namespace, name: str, value: int) -> Namespace:
    """The base with one setting changed."""
    return Namespace(**{**vars(spec), name: value})


def regimes(sweep: dict) -> dict[str, dict]:
    """Fits below and above the number of classes from which text is encoded twice.

    Args:
        sweep: Over C, with ``values``, ``recomputed`` and the figures of ``GROWING``.

    Returns:
        dict: By the name of each regime that has points: its ``values`` and ``fits``.
    """
    found = {}
    for name, belongs in REGIMES.items():
        points = [i for i, share in enumerate(sweep['recomputed']) if belongs(share)]
        if points:
            values = [sweep['values'][i] for i in points]
            fits = {key: fit(values, [sweep[key][i] for i in points]) for key in GROWING}
            found[name] = dict(values=values, fits=fits)
    return found


def fit(x: Sequence[float], y: Sequence[float]) -> dict[str, float | None]:
    """Least squares of ``y = intercept + slope x``, and the slope of log y over log x.

    ``r2`` is the part of y's variance that the line explains. ``log_slope`` is 1 for what grows in
    proportion, less where a constant part is added, 2 for what grows with the square. With fewer
    than two different x there is nothing to fit.
    """
    if len(set(x)) < 2:
        return dict(slope=None, intercept=None, r2=None, log_slope=None)
    slope, intercept = _line(x, y)
    mean = sum(y) / len(y)
    unexplained = sum((b - intercept - slope * a) ** 2 for a, b in zip(x, y))
    variance = sum((b - mean) ** 2 for b in y)
    log_slope, _ = _line([math.log(a) for a in x], [math.log(b) for b in y])
    r2 = 1 - unexplained / variance if variance else 1.0
    return dict(slope=slope, intercept=intercept, r2=r2, log_slope=log_slope)


def _line(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    mean_x, mean_y = sum(x) / len(x), sum(y) / len(y)
    shared = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y))
    slope = shared / sum((a - mean_x) ** 2 for a in x)
    return slope, mean_y - slope * mean_x


def _sizes(spec: Namespace) -> tuple[int, ...]:
    return tuple(getattr(spec, name) for name in SWEPT)


def _columns(rows: list[dict]) -> dict[str, list[float]]:
    """Each figure that is one number, over the rows."""
    keys = [key for key, value in rows[0].items() if isinstance(value, float)]
    return {key: [row[key] for row in rows] for key in keys}
