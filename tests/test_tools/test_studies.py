"""The demo, and studies on it: as many tries for each variant, results kept, reports."""

import json
import multiprocessing
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from mini_data import write_set
from mini_runs import LOADERS, REPO

sys.path.insert(0, str(REPO / 'tools' / 'studies'))

import allocation_study
import study

import sotglp_mm
from sotglp_cli import main
from sotglp_mm.apis import load_config
from sotglp_mm.demo import runs as demo_runs
from sotglp_mm.demo.runs import DemoRun, run_all

VARIANTS = [
    study.Variant('still', 'zero_shot', learns=False),
    study.Variant('a', 'coop'),
    study.Variant('b', 'sotglp', {'model.head.selector.k': 7}),
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
        rate = json.loads(run.options).get(study.LEARNING_RATE, 0)
        return 50 - 10 * abs(rate - 0.3) + run.seed

    monkeypatch.setattr(study, 'run_all', fake)
    return runs


def test_every_variant_gets_the_same_tries(asked, tmp_path):
    rows = study.run(VARIANTS, ['scenes', 'digits'], [4, 5], tmp_path, 1)
    tries = [run for run in asked if run.split == 'val']
    assert {run.seed for run in tries} == {4}
    for method, count in (('zero_shot', 0), ('coop', 1), ('sotglp', 1)):
        mine = [run for run in tries if run.method == method]
        assert len(mine) == 2 * count * len(study.LEARNING_RATES)
    finals = [run for run in asked if run.split == 'test']
    assert len(finals) == 2 * len(VARIANTS) * 2
    assert [row['learning_rate'] for row in rows] == 2 * [None, 0.3, 0.3]
    assert rows[1]['tried'] == pytest.approx({0.03: 51.3, 0.1: 52, 0.3: 54, 1.0: 47})
    assert rows[1]['metrics'] == {'accuracy/known/top1': [54.0, 55.0]}
    options = {run.options for run in finals if run.method == 'sotglp'}
    assert [json.loads(each) for each in options] == [
        {'model.head.selector.k': 7, study.LEARNING_RATE: 0.3}
    ]
    assert all(run.epochs == 0 for run in asked if run.method == 'zero_shot')
    rows[1]['metrics']['ood/mcm_T1/unseen/auroc'] = [70.0, 70.0]
    assert '| a | 54.5 ± 0.7 | 70.0 ± 0.0 | 0.3 |' in study.table(rows[1:2])
    assert 'over 2 seeds' in study.caption(rows[1:2])
    assert study.show([54.0]) == '54.0', 'one seed has no deviation'


def test_lines_by_name():
    assert study.chosen(VARIANTS, ['b', 'a']) == VARIANTS[1:]
    assert study.chosen(VARIANTS, None) == VARIANTS
    with pytest.raises(ValueError, match=r"--only 'c': no such line; there are .+'a', 'b'"):
        study.chosen(VARIANTS, ['c'])


def names_of(run: DemoRun) -> tuple:
    return demo_runs.result_file(run, REPO), demo_runs.feature_folder(run, REPO)


def test_results_of_other_code_or_data_are_other_results(monkeypatch, tmp_path):
    run = DemoRun('digits', 'sotglp', 3)
    names = list(names_of(run))
    code, names_file = tmp_path / 'engine' / 'hook.py', tmp_path / 'class_names' / 'names.txt'
    monkeypatch.setattr(sotglp_mm, '__file__', str(tmp_path / '__init__.py'))
    for file, text in ((code, '1'), (code, '2'), (names_file, 'a'), (names_file, 'b')):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        demo_runs.code_digest.cache_clear()
        names += names_of(run)
    monkeypatch.undo()
    demo_runs.code_digest.cache_clear()
    assert names_of(run) == tuple(names[:2])
    data = tmp_path / 'data.py'
    data.write_text(f'_base_ = {str(demo_runs.DATA_CONFIGS["digits"])!r}\nmore = 1\n')
    monkeypatch.setitem(demo_runs.DATA_CONFIGS, 'digits', data)
    names += names_of(run)
    assert len(set(names)) == 12


@pytest.fixture
def forked(monkeypatch):
    """Runs of few views, in forks: they start at once, and have what is set here."""
    monkeypatch.setattr(demo_runs, 'VIEWS', 2)
    monkeypatch.setattr(demo_runs, 'get_context', lambda _: multiprocessing.get_context('fork'))


def test_real_runs_are_made_once(forked, tmp_path, monkeypatch):
    """On a few images."""
    (tmp_path / 'data.py').write_text(f"""
_base_ = {str(demo_runs.DATA_CONFIGS['digits'])!r}
train_dataloader = dict(dataset=dict(num_shots=4))
test_dataloader = dict(dataset=dict(indices=100))
""")
    monkeypatch.setitem(demo_runs.DATA_CONFIGS, 'digits', tmp_path / 'data.py')
    options = json.dumps({'model.head.selector.k': 5})
    runs = [
        DemoRun('digits', 'sotglp', 3, 'test', 1, options),
        DemoRun('digits', 'zero_shot', 3, 'test', 0),
    ]
    first = run_all(runs, tmp_path, 1, 'test')
    trained, still = first
    assert trained['metrics']['accuracy/known/top1'] > still['metrics']['accuracy/known/top1'] - 20
    assert 'ood/gl_mcm_T1/unseen/auroc' in trained['metrics']
    names = ('entropy', 'overlap', 'prompt_cosine', 'spread', 'balanced')
    of_plans = {name: trained['metrics'][f'allocation/{name}'] for name in names}
    assert all(0 <= value <= 1 for value in of_plans.values()) and of_plans['balanced'] > 0.9
    assert 'ood/mcm_T1/unseen/auroc' in still['metrics']
    assert not list(tmp_path.glob('work/*'))  # checkpoints are not kept
    times = {file: file.stat().st_mtime_ns for file in tmp_path.glob('runs/*')}
    assert len(times) == 2
    assert run_all(runs, tmp_path, 1, 'test') == first
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob('runs/*')} == times
    # other settings are another run
    assert not demo_runs.result_file(runs[0]._replace(options='{}'), tmp_path).is_file()


def test_runs_on_files_read_stored_features_alone(forked, tmp_path, monkeypatch):
    write_set(tmp_path, 'eurosat', num_classes=10)
    monkeypatch.setenv('DATA', str(tmp_path))
    runs = [
        DemoRun('eurosat', 'sotglp', 1, 'test', 1),
        DemoRun('eurosat', 'coop', 1, 'val', 1),
        DemoRun('eurosat', 'linear_probe', 1, 'test', 0),
    ]
    trained, val, probe = (each['metrics'] for each in run_all(runs, tmp_path, 1, 'test'))
    assert {study.COLUMNS['local'], 'allocation/overlap'} <= set(trained)
    assert study.COLUMNS['combined'] in trained and 'accuracy/top1' in val
    assert {'accuracy/known/top1', 'chosen/C'} <= set(probe)
    stored = {folder.name.split('_')[1] for folder in (tmp_path / 'features').iterdir()}
    assert stored == {'seed1', 'val', 'test'}


def fake_row(dataset: str, variant: study.Variant, number: int) -> dict:
    values = np.random.default_rng(number).uniform(0.2, 0.9, 5)
    metrics = {key: (100 * values).tolist() for key in study.COLUMNS.values()}
    metrics |= {key: values.tolist() for key in allocation_study.PLAN_COLUMNS.values()}
    row = dict(dataset=dataset, variant=variant.name, learning_rate=0.3, tried={0.3: 1.0})
    return dict(row, metrics=metrics, method=variant.method, options=variant.options)


@pytest.fixture
def rows() -> list[dict]:
    return [
        fake_row(dataset, variant, number)
        for dataset, variants in allocation_study.VARIANTS.items()
        for number, variant in enumerate(variants)
    ]


def test_every_variant_stands_in_both_tables_and_in_the_figure(rows, tmp_path, monkeypatch):
    notes = []
    monkeypatch.setattr(
        allocation_study.Figure, 'supxlabel', lambda self, text, **style: notes.append(text)
    )
    allocation_study.write_report(rows, tmp_path)
    for name in ('accuracy.md', 'plans.md'):
        text = (tmp_path / name).read_text()
        for dataset, variants in allocation_study.VARIANTS.items():
            table = text[text.index(f'| {dataset} |') :].split('\n\n')[0]
            lines = [line.split(' | ')[0].strip('| ') for line in table.splitlines()[2:]]
            assert lines == [variant.name for variant in variants]
    for name in ('allocation.png', 'allocation_settings.png'):
        assert (tmp_path / name).is_file()
    # no line of the figure has these, and it says so
    scenes, *_ = notes[0].splitlines()
    assert scenes.startswith('scenes, on no line: ')
    assert {'all, capped 20', 'GalLoP'} <= set(scenes.partition(': ')[2].split('; '))


def test_gains_are_differences_of_the_same_seeds_and_settings(rows):
    def made(name: str, combined: list[float], local: list[float]) -> dict:
        row = next(row for row in rows if (row['dataset'], row['variant']) == ('scenes', name))
        metrics = {study.COLUMNS['combined']: combined, study.COLUMNS['local']: local}
        return dict(row, metrics={**row['metrics'], **metrics})

    transported = made('soft 20, OT 0.05', [50.0, 60.0, 70.0], [3.0, 3.0, 3.0])
    of_two = made('soft 20, uniform, 2 prompts', [1.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    even = made('soft 20, uniform', [51.0, 58.0, 67.0], [1.0, 1.0, 1.0])
    gallop = made('GalLoP', [1.0] * 3, [1.0] * 3)
    text = allocation_study.gains([gallop, of_two, transported, even])
    assert '| soft 20, OT 0.05 | +1.3 ± 2.1 | +2.0 ± 0.0 | 2 of 3 |' in text
    over_uniform, over_first = text.strip().split('\n\n')
    assert len(over_uniform.splitlines()) == 3
    assert over_first.startswith('| scenes: minus GalLoP | combined | local | seeds that gain |')
    assert '| soft 20, OT 0.05 | +59.0 ± 10.0 | +2.0 ± 0.0 | 3 of 3 |' in over_first
    assert len(over_first.splitlines()) == 2 + 3


def test_demo_writes_its_summary(tmp_path: Path, monkeypatch, capsys):
    def on_a_fourth(file, options, work_dir):
        """Of the test images, and in this process."""
        few = {f'{name}.num_workers': 0 for name in LOADERS}
        few |= {f'{name}.persistent_workers': False for name in LOADERS}
        few |= {f'{name}.dataset.indices': [*range(0, 957, 4)] for name in LOADERS[1:]}
        return load_config(file, {**options, **few}, work_dir)

    # the package's attribute is the function
    run_demo = import_module('sotglp_mm.demo.run_demo')
    monkeypatch.setattr(run_demo, 'load_config', on_a_fourth)
    assert main(['demo', '--work-dir', str(tmp_path / 'demo'), '--epochs', '1']) == 0
    summary = json.loads((tmp_path / 'demo' / 'summary.json').read_text())
    assert set(summary) == {'scenes', 'digits'}
    for found in summary.values():
        assert set(found['zero_shot']) == {'top1'}
        assert {'top1', 'top1_global', 'top1_local'} <= set(found['sotglp'])
    # the classes of the scenes have made-up names: CLIP alone can only guess among 24
    assert summary['scenes']['zero_shot']['top1'] < 12
    # even one epoch teaches something that CLIP alone does not know
    gain = summary['scenes']['sotglp']['top1'] - summary['scenes']['zero_shot']['top1']
    assert gain > 3
    assert 'written to' in capsys.readouterr().out


def test_demo_on_files(tmp_path: Path, monkeypatch, capsys):
    write_set(tmp_path, 'eurosat', num_classes=10)
    monkeypatch.setenv('DATA', str(tmp_path))
    assert main(['demo', '--real', '--work-dir', str(tmp_path / 'demo'), '--epochs', '1']) == 0
    summary = json.loads((tmp_path / 'demo' / 'real' / 'summary.json').read_text())['eurosat']
    assert list(summary) == ['zero_shot', 'coop', 'sotglp', 'sotglp_plus']
    assert 'top1_local' in summary['sotglp'] and 'top1_local' not in summary['coop']
    printed = capsys.readouterr().out
    assert all(name in printed for name in ('zero-shot', 'CoOp', 'SOT-GLP+'))
