"""Methods side by side: as many tries for each, results that are kept, a table of what was run."""

import json
import sys

import pytest
from mini_runs import REPO

sys.path.insert(0, str(REPO / 'tools' / 'studies'))

import compare_report as _compare_report
import tuned_runs as _tuned_runs
from tuned_runs import Variant, study

import sotglp_mm
from sotglp_mm.demo import runs as _demo_runs
from sotglp_mm.demo.runs import DemoRun, run_all

VARIANTS = [
    Variant('still', 'zero_shot', learns=False),
    Variant('a', 'coop'),
    Variant('b', 'sotglp', {'model.head.selector.k': 7}),
]


@pytest.fixture
def asked(monkeypatch) -> list[DemoRun]:
    """Runs that were asked for; a made-up accuracy, best at a learning rate of 0.3."""
    runs = []

    def fake(many, root, workers, title):
        runs.extend(many)
        return [dict(run._asdict(), metrics={key_of(run): accuracy_of(run)}) for run in many]

    def key_of(run):
        return 'accuracy/top1' if run.split == 'val' else 'accuracy/known/top1'

    def accuracy_of(run):
        rate = json.loads(run.options).get(_tuned_runs.LEARNING_RATE, 0)
        return 50 - 10 * abs(rate - 0.3) + run.seed

    monkeypatch.setattr(_tuned_runs, 'run_all', fake)
    return runs


def test_every_variant_gets_the_same_tries(asked, tmp_path):
    rows = study(VARIANTS, ['scenes', 'digits'], [4, 5], tmp_path, 1)
    tries = [run for run in asked if run.split == 'val']
    assert {run.seed for run in tries} == {4}
    for method, count in (('zero_shot', 0), ('coop', 1), ('sotglp', 1)):
        mine = [run for run in tries if run.method == method]
        assert len(mine) == 2 * count * len(_tuned_runs.LEARNING_RATES)
    finals = [run for run in asked if run.split == 'test']
    assert len(finals) == 2 * len(VARIANTS) * 2
    assert [row['learning_rate'] for row in rows] == 2 * [None, 0.3, 0.3]
    assert rows[1]['metrics'] == {'accuracy/known/top1': [54.0, 55.0]}
    options = {run.options for run in finals if run.method == 'sotglp'}
    assert [json.loads(each) for each in options] == [
        {'model.head.selector.k': 7, _tuned_runs.LEARNING_RATE: 0.3}
    ]
    assert all(run.epochs == 0 for run in asked if run.method == 'zero_shot')


def test_table_has_mean_and_deviation():
    metrics = {'accuracy/known/top1': [60.0, 62.0], 'ood/mcm_T1/unseen/auroc': [70.0, 70.0]}
    rows = [dict(dataset='scenes', variant='a', learning_rate=0.3, metrics=metrics)]
    text = _compare_report.table(rows, [1, 2], (0.1, 0.3))
    assert '| a | 61.0 ± 1.4 |  |  | 70.0 ± 0.0 |  |  |  | 0.3 |' in text
    assert 'over 2 seeds' in text


def names_of(run: DemoRun) -> tuple:
    return _demo_runs.result_file(run, REPO), _demo_runs.feature_folder(run, REPO)


def test_results_of_other_code_are_other_results(monkeypatch, tmp_path):
    run = DemoRun('digits', 'sotglp', 3)
    names = list(names_of(run))
    (tmp_path / 'models').mkdir()
    monkeypatch.setattr(sotglp_mm, '__file__', str(tmp_path / '__init__.py'))
    for code in ('a = 1\n', 'a = 2\n'):
        (tmp_path / 'models' / 'head.py').write_text(code)
        _demo_runs.code_digest.cache_clear()
        names += names_of(run)
    monkeypatch.undo()
    _demo_runs.code_digest.cache_clear()
    assert len(set(names)) == 6
    assert names_of(run) == tuple(names[:2])


def test_results_of_other_data_are_other_results(monkeypatch, tmp_path):
    run = DemoRun('digits', 'sotglp', 3)
    before = names_of(run)
    data = tmp_path / 'data.py'
    data.write_text(f'_base_ = {str(_demo_runs.DATA_CONFIGS["digits"])!r}\nmore = 1\n')
    monkeypatch.setitem(_demo_runs.DATA_CONFIGS, 'digits', data)
    assert not set(names_of(run)) & set(before)


def test_real_runs_are_made_once(tmp_path):
    options = json.dumps({'model.head.selector.k': 5})
    runs = [
        DemoRun('digits', 'sotglp', 3, 'test', 1, options),
        DemoRun('digits', 'zero_shot', 3, 'test', 0),
    ]
    first = run_all(runs, tmp_path, 1, 'test')
    trained, still = first
    assert trained['metrics']['accuracy/known/top1'] > still['metrics']['accuracy/known/top1'] - 20
    assert {'ood/gl_mcm_T1/unseen/auroc', 'allocation/overlap'} <= set(trained['metrics'])
    assert 'ood/mcm_T1/unseen/auroc' in still['metrics']
    assert not list(tmp_path.glob('work/*'))  # checkpoints are not kept
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob('runs/*')}
    assert len(times) == 2
    assert run_all(runs, tmp_path, 1, 'test') == first
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob('runs/*')} == times
    # other settings are another run
    assert not _demo_runs.result_file(runs[0]._replace(options='{}'), tmp_path).is_file()

    rows = [
        dict(dataset='digits', variant=run.method, learning_rate=None, metrics=_lists(result))
        for run, result in zip(runs, first)
    ]
    _compare_report.write_plot(rows, tmp_path / 'plot.png')
    assert (tmp_path / 'plot.png').stat().st_size > 10_000


def _lists(result: dict) -> dict:
    return {key: [value, value + 1] for key, value in result['metrics'].items()}
