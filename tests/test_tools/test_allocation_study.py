"""The report of the allocation study, on made-up rows of all its variants."""

import sys
from pathlib import Path

import numpy as np
import pytest
from mini_runs import REPO

sys.path.insert(0, str(REPO / 'tools' / 'studies'))

import allocation_study
from allocation_report import PLAN, gains, write_report
from compare_report import COLUMNS
from settings_plot import lines_over, settings_of
from tuned_runs import Variant


def fake_row(dataset: str, variant: Variant, number: int) -> dict:
    values = np.random.default_rng(number).uniform(0.2, 0.9, 5)
    metrics = {key: (100 * values).tolist() for key in COLUMNS.values()}
    metrics |= {key: values.tolist() for key in PLAN.values()}
    row = dict(dataset=dataset, variant=variant.name, learning_rate=0.3, metrics=metrics)
    return dict(row, method=variant.method, options=variant.options)


@pytest.fixture
def rows() -> list[dict]:
    return [
        fake_row(dataset, variant, number)
        for dataset, variants in allocation_study.VARIANTS.items()
        for number, variant in enumerate(variants)
    ]


def test_every_variant_stands_in_both_tables(rows: list[dict], tmp_path: Path):
    write_report(rows, tmp_path)
    for name in ('accuracy.md', 'plans.md'):
        text = (tmp_path / name).read_text()
        for dataset, variants in allocation_study.VARIANTS.items():
            table = text[text.index(f'| {dataset} |') :].split('\n\n')[0]
            lines = [line.split(' | ')[0].strip('| ') for line in table.splitlines()[2:]]
            assert lines == [variant.name for variant in variants]
    for name in ('allocation.png', 'allocation_settings.png'):
        assert (tmp_path / name).stat().st_size > 10_000


def test_gains_are_differences_of_the_same_seeds_and_settings(rows: list[dict]):
    def made(name: str, combined: list[float], local: list[float]) -> dict:
        row = next(row for row in rows if (row['dataset'], row['variant']) == ('scenes', name))
        metrics = {COLUMNS['combined']: combined, COLUMNS['local']: local}
        return dict(row, metrics={**row['metrics'], **metrics})

    transported = made('soft 20, OT 0.05', [50.0, 60.0, 70.0], [3.0, 3.0, 3.0])
    of_two = made('soft 20, uniform, 2 prompts', [1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    even = made('soft 20, uniform', [51.0, 58.0, 67.0], [1.0, 1.0, 1.0])
    found = gains([made('GalLoP', [1.0] * 3, [1.0] * 3), of_two, transported, even])
    assert '| soft 20, OT 0.05 | +1.3 ± 2.1 | +2.0 ± 0.0 | 2 of 3 |' in found
    over_uniform, over_first = found.strip().split('\n\n')
    assert len(over_uniform.splitlines()) == 3
    assert over_first.startswith('| scenes: minus GalLoP | combined | local | seeds that gain |')
    assert '| soft 20, OT 0.05 | +59.0 ± 10.0 | +2.0 ± 0.0 | 3 of 3 |' in over_first
    assert len(over_first.splitlines()) == 2 + 3


def test_settings_are_those_of_the_config_and_the_options():
    row = dict(method='sotglp', options={})
    paper = settings_of(row)
    assert (paper['plan'], paper['prompts'], paper['k'], paper['epsilon']) == ('OT', 4, 10, 0.1)
    uniform = dict(_delete_=True, type='UniformAllocationLoss', reduction='sum')
    options = {'model.head.local_loss': uniform, 'model.head.selector': dict(k='all')}
    found = settings_of(dict(row, options=options))
    assert found == {
        **paper,
        **dict(plan='uniform plan', k='all', epsilon=None, score='sum'),
    }
    capped = dict(_delete_=True, type='CappedAllocationLoss', capacity=20)
    assert settings_of(dict(row, options={'model.head.local_loss': capped})) is None
    assert settings_of(dict(method='gallop', options={})) is None


def points(*rows: tuple) -> list[tuple]:
    names = ('plan', 'prompts', 'k', 'epsilon', 'ranking')
    return [(dict(zip(names, row)), float(i), 0.5) for i, row in enumerate(rows)]


def test_a_line_differs_in_one_setting_alone():
    found = points(
        ('OT', 4, 10, 0.1, 'mean'),
        ('OT', 8, 20, 0.05, 'soft'),
        ('OT', 2, 20, 0.05, 'soft'),
        ('uniform plan', 2, 20, None, 'soft'),
        ('uniform plan', 2, 10, None, 'mean'),
        ('OT', 2, 20, 0.02, 'soft'),
    )
    shared, transport, even = lines_over(found, 'prompts')
    assert shared == dict(plan='OT', k=20, epsilon=0.05, ranking='soft')
    assert transport == [(2, 2.0, 0.5), (8, 1.0, 0.5)]
    assert even == [(2, 3.0, 0.5)]
    shared, transport, even = lines_over(found, 'epsilon')
    assert [point[0] for point in transport] == [0.02, 0.05]
    assert even == [(None, 3.0, 0.5)]
    assert lines_over(points(('uniform plan', 2, 10, None, 'mean')), 'k') == ({}, [], [])
