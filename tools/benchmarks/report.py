"""Figures of the benchmark as Markdown tables, for the terminal and for a page."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from contenders import Spec
from scipy.stats import linregress

from sotglp_mm.utils.tables import markdown_table

Table = tuple[list[str], list[list[str]]]

COMPARED = {
    'text_forward_s': 'text forward, s',
    'text_both_s': 'text forward and backward, s',
    'image_forward_s': 'image forward, s',
    'local_s': 'local branch, s',
    'local_forward_s': 'local branch forward, s',
    'backward_s': 'backward, s',
    'step_s': 'training step, s',
    'batch_s': 'evaluating a batch, s',
    'gflop': 'matrix products, GFLOP',
    'peak_gb': 'peak memory of the process, GB',
    'local_memory_gb': 'memory above the inputs, GB',
}
"""Figures that the package shares with what it is compared with."""

SINGLE = {
    'model_gb': 'memory before the first run, GB',
    'images_per_s': 'images a second',
    'encode_image_s': "open_clip's encode_image, s",
    'image_ratio': 'image forward over encode_image, median over rounds',
    'plain_over_package': 'plain implementation over package, time, median over rounds',
    'onnx_over_package': 'ONNX file over package, time, median over rounds',
    'torch_export_over_package': '.pt2 file over package, time, median over rounds',
    'local_ratio': 'local branch over full product, time, median over rounds',
    'local_forward_ratio': 'the same, forward alone',
    'matrix_gflop_per_s': 'matrix rate, best, GFLOP/s',
    'matrix_share': 'share of the matrix rate',
    'text_matrix_share': 'text forward and backward: share of the matrix rate',
}
OTHERS = {
    'plain': 'plain',
    'product': 'full product',
    'onnx': 'ONNX file',
    'torch_export': '.pt2 file',
}
SWEPT = dict(classes='C', batch='B', k='K', local_prompts='N')
"""Settings that are swept, one at a time, and their letters."""

GROWN = {
    'step_s': 'training step, s',
    'step_peak_gb': 'peak memory of training, GB',
    'batch_s': 'evaluating a batch, s',
    'batch_peak_gb': 'peak memory of evaluation, GB',
}
"""What is measured over C alone; evaluation's peak has the encoding of text, its time has not."""

FIT_HEAD = ('slope a unit', 'intercept', 'R^2', 'log-log slope')

STEP_KEYS = ('text_forward_s', 'image_forward_s', 'local_s', 'backward_s', 'step_s', 'peak_gb')
"""What every JSON has of these, where it applies: programs read them."""


def as_markdown(result: dict, spec: Spec) -> str:
    if 'growth' in result:
        tables = _growth_tables(result['growth'])
    else:
        tables = _sweep_tables(result['sweeps']) if 'sweeps' in result else _step_tables(result)
    return '\n\n'.join([_heading(result, spec), *(markdown_table(*table) for table in tables)])


def updated_page(page: str, text: str) -> str:
    """``page`` with what stands from the command of ``text`` to the next heading replaced by it.

    Raises:
        ValueError: The page does not have the command.
    """
    command = text.partition('\n\n')[0]
    before, found, rest = page.partition(command)
    if not found:
        raise ValueError(
            f'the page does not have this command, to put its tables there: {command}'
        )
    heading = rest.find('\n## ')
    return f'{before}{text}\n{rest[heading:] if heading >= 0 else ""}'


def fit(x: Sequence[float], y: Sequence[float]) -> dict[str, float | None]:
    """Least squares of ``y = intercept + slope x``, and the slope of log y over log x.

    ``log_slope`` is 1 for what grows in proportion, less where a constant part is added. With
    fewer than two different x there is nothing to fit.
    """
    if len(set(x)) < 2:
        return dict(slope=None, intercept=None, r2=None, log_slope=None)
    line, powers = linregress(x, y), linregress(np.log(x), np.log(y))
    found = dict(slope=line.slope, intercept=line.intercept, r2=line.rvalue**2)
    return {name: float(value) for name, value in (found | dict(log_slope=powers.slope)).items()}


def _heading(result: dict, spec: Spec) -> str:
    weights = Path(spec.pretrained or 'random weights').name
    machine, rank = result['machine'], '' if spec.rank == 'mean' else f'rank {spec.rank}, '
    rank += 'all of text kept, ' * spec.keep
    classes, runs = f'C={spec.classes}, ', f'medians of {spec.repeats}'
    if 'growth' in result:
        classes, runs = '', 'the second run of each'
    return (
        f'```bash\n{result["command"]}\n```\n\n'
        f'{Path(spec.model).name} ({weights}), {classes}B={spec.batch}, '
        f'G={spec.global_prompts}, N={spec.local_prompts}, K={spec.k}, {rank}{spec.precision}; '
        f'{machine["cpu"]}, {machine["threads"]} threads, torch {machine["torch"]}; {runs}'
    )


def _step_tables(result: dict) -> list[Table]:
    others = {key: label for key, label in OTHERS.items() if key in result}
    head, compared = ['', 'package', *(f'{each} (over package)' for each in others.values())], []
    for key, label in COMPARED.items():
        if key in result:
            ours = result[key]
            cells = [_with_ratio(result[other].get(key), ours) for other in others]
            compared.append([label, _number(ours), *cells])
    single = [[label, _number(result[key])] for key, label in SINGLE.items() if key in result]
    return [(head, compared), (['', 'figure'], single)]


def _growth_tables(growth: dict) -> list[Table]:
    rows = [
        [f'C={value}', *(_number(growth[key][index]) for key in GROWN)]
        for index, value in enumerate(growth['values'])
    ]
    fits = [[label, *_fitted(growth['fits'][key])] for key, label in GROWN.items()]
    return [(['', *GROWN.values()], rows), (['over C', *FIT_HEAD], fits)]


def _fitted(found: dict) -> list[str]:
    return [_number(found[part]) for part in ('slope', 'intercept', 'r2', 'log_slope')]


def _sweep_tables(sweeps: dict) -> list[Table]:
    rows: list[list[str]] = []
    fits: list[list[str]] = []
    for name, sweep in sweeps.items():
        for index, value in enumerate(sweep['values']):
            cells = [_number(sweep[key][index]) for key in STEP_KEYS]
            rows.append([f'{SWEPT[name]}={value}', *cells])
        for key, found in sweep['fits'].items():
            fits.append([f'over {SWEPT[name]}', COMPARED[key], *_fitted(found)])
    head = ['', *(COMPARED[key] for key in STEP_KEYS)]
    return [(head, rows), (['', 'of', *FIT_HEAD], fits)]


def _number(value: float | None) -> str:
    """Three significant digits, without an exponent where that stays short."""
    if value is None:
        return '-'
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'


def _with_ratio(value: float | None, package: float) -> str:
    if value is None:
        return ''
    return f'{_number(value)} ({value / package:.2f}x)' if package else _number(value)
