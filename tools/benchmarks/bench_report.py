"""Results of the benchmark as tables, for the terminal and as Markdown."""

from pathlib import Path

from bench_scaling import SWEPT

PACKAGE = 'package'
COMPARED = {
    'text_forward_s': 'text forward, s',
    'image_forward_s': 'image forward, s',
    'local_s': 'local branch, s',
    'local_forward_s': 'local branch forward, s',
    'local_backward_s': 'local branch backward, s',
    'backward_s': 'backward, s',
    'other_s': 'neck, losses, SGD, s',
    'step_s': 'training step, s',
    'batch_s': 'evaluating a batch, s',
    'peak_gb': 'peak memory of the process, GB',
    'local_memory_gb': 'memory above the inputs, GB',
}
"""Figures that the package shares with what it is compared with."""

ALIASES = {'batch_s': 'step_s', 'local_backward_s': 'backward_s'}
"""Figures that programs find in the JSON under a second name, too; tables have the first."""

SINGLE = {
    'model_gb': 'memory before the first step, GB',
    'images_per_s': 'images a second',
    'encode_image_s': "open_clip's encode_image, s",
    'image_ratio': 'image forward over encode_image, median over rounds',
    'plain_over_package': 'plain implementation over package, time, median over rounds',
    'local_ratio': 'local branch over full product, time, median over rounds',
    'necessary_gflop': 'necessary operations, GFLOP',
    'matrix_gflop_per_s': 'matrix rate, best, GFLOP/s',
    'matrix_median_gflop_per_s': 'matrix rate, median, GFLOP/s',
    'matrix_share': 'share of the matrix rate',
    'text_forward_backward_s': 'text tower alone, forward and backward, s',
    'text_matrix_share': 'text tower: share of the matrix rate',
}
OTHERS = {'plain': 'plain', 'product': 'full product'}

Table = list[list[str]]


def tables(result: dict) -> list[Table]:
    """Rows of cells, the first of each table its head."""
    if 'sweeps' in result:
        return [_sweep_table(result), _fit_table(result)]
    return [_compared_table(result), _single_table(result)]


def as_text(result: dict) -> str:
    """For the terminal."""
    return '\n\n'.join([_heading(result), *map(_aligned, tables(result)), *_notes(result)])


def as_markdown(result: dict) -> str:
    """For a page: the command, the machine, the tables."""
    parts = [f'```bash\n{result["command"]}\n```', _heading(result)]
    for table in tables(result):
        rows = [f'| {" | ".join(row)} |' for row in table]
        rows.insert(1, '|---' + '|---:' * (len(table[0]) - 1) + '|')
        parts.append('\n'.join(rows))
    return '\n\n'.join([*parts, *_notes(result)]) + '\n'


def _heading(result: dict) -> str:
    settings, machine = result['settings'], result['machine']
    sizes = {
        'C': 'classes',
        'B': 'batch',
        'G': 'global_prompts',
        'N': 'local_prompts',
        'K': 'k',
    }
    parts = [f'{letter}={settings[key]}' for letter, key in sizes.items()]
    model = Path(settings['model']).name
    weights = Path(settings['pretrained'] or 'random weights').name
    return (
        f'{model} ({weights}), {", ".join(parts)}, {settings["precision"]}; '
        f'{machine["cpu"]}, {machine["threads"]} threads, torch {result["versions"]["torch"]}; '
        f'medians of {settings["repeats"]}'
    )


def _notes(result: dict) -> list[str]:
    return [
        f'{name}: {result[name]["failed"]}' for name in OTHERS if 'failed' in result.get(name, {})
    ]


def _compared_table(result: dict) -> Table:
    others = [name for name in OTHERS if 'failed' not in result.get(name, {'failed': ''})]
    head = ['', PACKAGE, *(f'{OTHERS[name]} (over package)' for name in others)]
    rows = [head]
    twice = {same for name, same in ALIASES.items() if name in result}
    for key, label in COMPARED.items():
        if key not in result or key in twice:
            continue
        cells = [_number(result[key])]
        for name in others:
            value = result[name].get(key)
            cells.append('' if value is None else _with_ratio(value, result[key]))
        rows.append([label, *cells])
    return rows


def _single_table(result: dict) -> Table:
    rows = [[label, _number(result[key])] for key, label in SINGLE.items() if key in result]
    return [['', 'figure'], *rows]


def _sweep_table(result: dict) -> Table:
    keys = ('text_forward_s', 'image_forward_s', 'local_s', 'backward_s', 'step_s', 'peak_gb')
    rows = [['', *(COMPARED[key] for key in keys)]]
    for name, sweep in result['sweeps'].items():
        for index, value in enumerate(sweep['values']):
            cells = [_number(sweep[key][index]) for key in keys]
            rows.append([f'{SWEPT[name]}={value}', *cells])
    return rows


def _fit_table(result: dict) -> Table:
    rows = [['', 'of', 'slope (per unit)', 'intercept', 'R^2', 'log-log slope']]
    for name, sweep in result['sweeps'].items():
        for key, fit in sweep['fits'].items():
            rows.append([f'over {SWEPT[name]}', COMPARED[key], *_fit_cells(fit)])
        for regime, part in sweep.get('regimes', {}).items():
            values = part['values']
            over = f'over {SWEPT[name]}={values[0]} to {values[-1]}, {regime}'
            rows += [[over, COMPARED[key], *_fit_cells(fit)] for key, fit in part['fits'].items()]
    return rows


def _fit_cells(fit: dict) -> list[str]:
    return [_number(fit[part]) for part in ('slope', 'intercept', 'r2', 'log_slope')]


def _aligned(table: Table) -> str:
    widths = [max(map(len, column)) for column in zip(*table)]
    lines = [
        row[0].ljust(widths[0])
        + ''.join('  ' + cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))
        for row in table
    ]
    return '\n'.join([lines[0], '-' * len(lines[0]), *lines[1:]])


def _number(value: float | None) -> str:
    """Three significant digits, without an exponent where that stays short."""
    if value is None:
        return '-'
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}'


def _with_ratio(value: float, package: float) -> str:
    ratio = f' ({value / package:.2f}x)' if package else ''
    return _number(value) + ratio
