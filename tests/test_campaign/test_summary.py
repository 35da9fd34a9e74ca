"""The summary of a campaign: its numbers, what it leaves blank, refuses, and sets beside."""

import csv
import json
import shutil
import statistics
from pathlib import Path

import pytest

from sotglp_mm.campaign import summarize
from sotglp_mm.campaign.published import PUBLISHED
from sotglp_mm.campaign.records import add_to_plan
from sotglp_mm.datasets.known_sets import KNOWN_SETS

NUMBERS = json.loads(PUBLISHED.read_text())
FILES = ('summary.md', 'summary.csv', 'summary.json', 'accuracy_vs_shots.png')


def write_result(
    work_dir: Path, dataset: str, shots: int, seed: int, top1: float | None, **more
) -> Path:
    metrics = {'accuracy/top1': top1, 'accuracy_global/top1': (top1 or 0) - 7, **more}
    if top1 is None:  # tested on several sets
        metrics = more
    result = dict(dataset=dataset, shots=shots, seed=seed, config='c.py', cfg_options=[])
    result |= dict(epochs=200, sampling='per_class', metrics=metrics)
    file = work_dir / dataset / f'{shots}shot' / f'seed{seed}' / 'result.json'
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(result))
    return file


@pytest.fixture
def runs(tmp_path) -> Path:
    """Two datasets, 2 and 16 shots; of dtd, the second seed of 16 shots is missing."""
    for seed, (dtd, eurosat) in enumerate([(40.0, 60.5), (43.0, 61.5)], start=1):
        write_result(tmp_path, 'dtd', 2, seed, dtd)
        write_result(tmp_path, 'eurosat', 2, seed, eurosat)
        write_result(tmp_path, 'eurosat', 16, seed, eurosat + 20)
    write_result(tmp_path, 'dtd', 16, 1, 71.25)
    add_to_plan(tmp_path, [('dtd', 16, 1), ('dtd', 16, 2)])
    return tmp_path


def summary(work_dir: Path, **settings) -> str:
    summarize(work_dir, **settings)
    return (work_dir / 'summary.md').read_text()


def lines_of(text: str, title: str, begin: str) -> list[str]:
    section = next(part for part in text.split('\n## ') if part.startswith(title))
    return [line for line in section.splitlines() if line.startswith(begin)]


def test_means_and_deviations(runs):
    text = summary(runs)
    rows = {
        (row['dataset'], row['shots'], row['metric']): row
        for row in csv.DictReader((runs / 'summary.csv').open())
    }
    dtd = rows['dtd', '2', 'accuracy/top1']
    assert float(dtd['mean']) == 41.5 and dtd['n'] == '2'
    assert float(dtd['std']) == pytest.approx(statistics.stdev([40, 43]))
    # of the averages of each seed, not the average of deviations
    average = rows['average', '2', 'accuracy/top1']
    assert float(average['mean']) == pytest.approx(51.25)
    assert float(average['std']) == pytest.approx(statistics.stdev([50.25, 52.25]))
    assert float(rows['dtd', '2', 'accuracy_global/top1']['mean']) == 34.5
    one = rows['dtd', '16', 'accuracy/top1']
    assert (one['std'], one['n']) == ('', '1')
    assert not any('local' in metric for _, _, metric in rows)
    combined = 'Top-1, combined'
    assert lines_of(text, combined, '| dtd') == ['| dtd | 41.5 ± 2.1 (n=2) | 71.2 (n=1) |']
    assert lines_of(text, combined, '| average') == ['| average | 51.2 ± 1.4 (n=2) | 75.9 (n=1) |']
    assert '## Top-1, global (`accuracy_global/top1`)' in text
    assert 'Top-1, local' not in text
    assert 'Domain shift' not in text and 'Out-of-distribution' not in text
    content = json.loads((runs / 'summary.json').read_text())
    assert content['missing'] == [['dtd', 16, 2]]
    assert len(content['rows']) == len(rows) == 12


def test_what_is_missing_is_named(runs):
    text = summary(runs)
    assert 'Asked for, and without a result (1):\n\n- dtd, 16 shots, seed 2\n' in text
    assert 'The average for 16 shots is over seeds that all datasets have: [1].' in text
    assert 'No average' not in text
    add_to_plan(runs, [('food101', 2, 1)])
    text = summary(runs)
    assert lines_of(text, 'Top-1, combined', '| average') == ['| average |  |  |']
    assert 'No average for 2 shots: nothing of food101.' in text


def test_seeds_that_never_meet_and_a_metric_that_is_no_number(tmp_path):
    write_result(tmp_path, 'dtd', 1, 1, float('nan'))
    write_result(tmp_path, 'dtd', 1, 3, 50.0)
    write_result(tmp_path, 'eurosat', 1, 2, 50)
    text = summary(tmp_path)
    assert 'No average for 1 shot: no seed that all datasets have.' in text
    assert 'No result here is of 16 shots' in text and '| this package' not in text
    assert lines_of(text, 'Top-1, combined', '| dtd') == ['| dtd | nan (n=2) |']


def test_beside_published(runs):
    text = summary(runs)
    title = '16 shots, beside published'
    gallop = lines_of(text, title, '| GalLoP')[0]
    assert gallop.endswith('| 75.5 | 90.1 | 86.9 | 84.4 |')
    blank = ' | '.join(['| SOT-GLP', *11 * [''], '85.1 |'])
    assert lines_of(text, title, '| SOT-GLP')[0] == blank
    own = lines_of(text, title, '| this package')[0]
    # two of eleven datasets: their average is not comparable with the published means
    assert own.endswith('| 71.2 (n=1) | 81.0 ± 0.7 (n=2) |  |  |')
    assert 'GalLoP and SOT-GLP draw shots stratified' in text and 'exactly\n16 of every' in text
    assert 'arXiv 2603.08347, abstract' in text
    # published numbers are shown as they were published
    row = lines_of(text, title, '| PLOT++')[0]
    assert row.startswith('| PLOT++ | 72.60 | 96.04 | 93.59 | 84.55 ')
    text = summary(runs, metric='accuracy_global/top1')
    assert '64.2 (n=1)' in lines_of(text, title, '| this package')[0]
    assert text.count('(`accuracy_global/top1`)') == 1


def test_the_last_epoch_and_the_sampling_are_stated(runs):
    text = summary(runs)
    assert "last epoch's checkpoint" in text and 'nothing was selected on test data' in text
    assert 'Shots: per_class, exactly K images of every class' in text
    file = runs / 'dtd' / '2shot' / 'seed1' / 'result.json'
    file.write_text(file.read_text().replace('per_class', 'stratified'))
    assert 'Shots: MIXED, do not compare rows: per_class, stratified' in summary(runs)


def test_domain_shift(tmp_path):
    shifts = dict(imagenetv2=60.0, imagenet_sketch=40.0, imagenet_a=50.0, imagenet_r=70.0)
    metrics = {f'accuracy/{name}/top1': value for name, value in shifts.items()}
    write_result(tmp_path, 'imagenet', 16, 1, 72.0, **metrics)
    # a set is missing for this seed: it has no mean of four
    metrics.pop('accuracy/imagenet_a/top1')
    write_result(tmp_path, 'imagenet', 16, 2, 74.0, **metrics)
    text = summary(tmp_path)
    assert lines_of(text, 'Domain shift', '| this package') == [
        '| this package, imagenet, 16 shots | 73.0 ± 1.4 (n=2) | 60.0 ± 0.0 (n=2) '
        '| 40.0 ± 0.0 (n=2) | 50.0 (n=1) | 70.0 ± 0.0 (n=2) | 55.0 (n=1) |'
    ]
    assert lines_of(text, 'Domain shift', '| GalLoP')[0].endswith('| 50.3 | 77.8 | 61.3 |')
    assert 'accuracy/imagenet_a/top1,50.0,,1' in (tmp_path / 'summary.csv').read_text()


def test_out_of_distribution(tmp_path):
    metrics = {}
    for number, name in enumerate(('inaturalist', 'sun', 'places', 'textures')):
        metrics[f'ood/gl_mcm_T1/{name}/fpr95'] = 10.0 + 4 * number
        metrics[f'ood/gl_mcm_T1/{name}/auroc'] = 90.0 + 2 * number
    metrics['ood/mcm_T1/sun/auroc'] = 81.0
    write_result(tmp_path, 'imagenet', 16, 1, 72.0, **metrics)
    text = summary(tmp_path)
    first, second = lines_of(text, 'Out-of-distribution', '| this package')
    assert first.startswith(
        '| this package, imagenet, 16 shots, gl_mcm_T1 | 10.0 (n=1) / 90.0 (n=1)'
    )
    assert first.endswith('| 16.0 (n=1) / 93.0 (n=1) |')
    assert second == '| this package, imagenet, 16 shots, mcm_T1 |  | - / 81.0 (n=1) |  |  |  |'
    projection_free = lines_of(text, 'Out-of-distribution', '| SOT-GLP')[0]
    assert projection_free == '| SOT-GLP projection-free |  |  |  |  | - / 94.2 |'


def test_out_of_distribution_on_sets_of_ones_own(tmp_path):
    own = {
        'ood/mcm_T1/fish/auroc': 80.0,
        'ood/mcm_T1/fish/fpr95': 30.0,
        'ood/mcm_T1/mean/auroc': 80.0,
    }
    write_result(tmp_path, 'boats', 16, 1, None, **own)
    text = summary(tmp_path)
    assert '| method | fish | mean |' in text
    both = '30.0 (n=1) / 80.0 (n=1)'
    assert f'| this package, boats, 16 shots, mcm_T1 | {both} | {both} |' in text
    assert 'GalLoP' not in text.partition('Out-of')[2]


def test_the_source_is_none_of_the_others(tmp_path):
    accuracies = {'dtd': 90.0, 'eurosat': 40.0, 'food101': 50.0}
    metrics = {f'accuracy/{name}/top1': value for name, value in accuracies.items()}
    file = write_result(tmp_path, 'dtd', 16, 1, None, **metrics, **{'accuracy/top1': 90.0})
    file.write_text(json.dumps({**json.loads(file.read_text()), 'targets': list(accuracies)}))
    row = '| this package, dtd, 16 shots | 90.0 (n=1) |  | 40.0 (n=1) | 50.0 (n=1) | 45.0 (n=1) |'
    assert row in summary(tmp_path)


def test_base_to_new(tmp_path):
    for seed, (base, new) in enumerate([(60.0, 41.0), (62.0, 39.0)], start=1):
        metrics = {'accuracy/base/top1': base, 'accuracy/new/top1': new, 'accuracy/mean/top1': 1.0}
        metrics |= {'accuracy_global/base/top1': 50.0, 'accuracy_global/new/top1': 50.0}
        other = {**metrics, 'accuracy/base/top1': base + 10, 'accuracy/new/top1': 60.0}
        write_result(tmp_path, 'dtd', 16, seed, None, **metrics)
        write_result(tmp_path, 'eurosat', 16, seed, None, **other)
    text = summary(tmp_path)
    # 2 * 61 * 40 / 101 = 48.3
    row = '| dtd, 16 shots, combined | 61.0 ± 1.4 (n=2) | 40.0 ± 1.4 (n=2) | 48.3 |'
    assert row in text
    # 2 * 66 * 50 / 116 = 56.9
    assert '| average, 16 shots, combined | 66.0 ± 1.4 (n=2) | 50.0 ± 0.7 (n=2) | 56.9 |' in text
    assert '| dtd, 16 shots, global | 50.0 ± 0.0 (n=2) | 50.0 ± 0.0 (n=2) | 50.0 |' in text
    assert 'Domain shift' not in text


OOD = {'accuracy/imagenet/top1': 72.5, 'ood/mcm_T1/sun/auroc': 91.0, 'ood/mcm_T1/sun/aupr': 97.5}
DOMAINS = {'accuracy/imagenetv2/top1': 60.0, 'accuracy/mean/top1': 55.0}


def test_only_sets_that_a_run_was_tested_on(tmp_path):
    write_result(tmp_path, 'ood', 16, 1, None, **OOD)
    write_result(tmp_path, 'domains', 16, 1, None, **DOMAINS)
    text = summary(tmp_path)
    assert lines_of(text, 'Domain shift', '| this package') == [
        '| this package, domains, 16 shots |  | 60.0 (n=1) |  |  |  |  |'
    ], 'the known side of OOD detection is no shift'
    assert '| this package, ood, 16 shots, mcm_T1 |  | - / 91.0 (n=1) ' in text
    assert 'Top-1' not in text and 'beside published' not in text and 'average' not in text
    assert 'ood,16,ood/mcm_T1/sun/auroc,91.0,,1' in (tmp_path / 'summary.csv').read_text()
    assert not (tmp_path / FILES[-1]).exists()


def test_they_do_not_spoil_the_average_and_the_plot(tmp_path):
    names = NUMBERS['datasets']
    for folder in ('alone', 'beside'):
        for number, name in enumerate(names):
            write_result(tmp_path / folder, name, 16, 1, 80.0 + number)
    write_result(tmp_path / 'beside', 'ood', 16, 1, None, **OOD)
    add_to_plan(tmp_path / 'beside', [('domains', 16, 1)])  # not done yet
    text = summary(tmp_path / 'beside')
    assert lines_of(text, 'Top-1, combined', '| average') == ['| average | 85.0 (n=1) |']
    own = lines_of(text, '16 shots', '| this')[0]
    assert own.endswith('| 90.0 (n=1) | 85.0 (n=1) |'), 'a mean beside the published'
    assert '- domains, 16 shots, seed 1' in text and '| domains' not in text
    summary(tmp_path / 'alone')
    figures = [(tmp_path / each / FILES[-1]).read_bytes() for each in ('alone', 'beside')]
    assert figures[0] == figures[1]
    text = (tmp_path / 'alone' / 'summary.md').read_text()
    shown = [line.split(' | ')[0] for line in lines_of(text, 'Top-1, combined', '| ')][2:]
    assert shown == [f'| {name}' for name in [*names, 'average']], 'the order of the papers'


def test_aupr_and_mean_per_class(tmp_path):
    write_result(tmp_path, 'imagenet', 16, 1, 72.0, **OOD, **{'accuracy/mean_class': 70.25})
    text = summary(tmp_path)
    title = 'Mean per-class accuracy, combined (`accuracy/mean_class`)'
    assert lines_of(text, title, '| imagenet') == ['| imagenet | 70.2 (n=1) |']
    assert lines_of(text, 'Out-of-distribution detection, AUPR', '| this') == [
        '| this package, imagenet, 16 shots, mcm_T1 |  | 97.5 (n=1) |  |  |  |'
    ]
    text = summary(tmp_path, metric='accuracy/mean_class')
    assert 'Top-1, accuracy/mean_class' not in text and text.count(title) == 1
    assert 'beside published' not in text, 'those are top-1'


def test_the_same_results_give_the_same_files(runs, tmp_path_factory):
    out = tmp_path_factory.mktemp('out') / 'new'
    assert summarize(runs, out) == [out / name for name in FILES]
    assert sorted(file.name for file in out.iterdir()) == sorted(FILES)
    assert not (runs / 'summary.md').exists()
    copy = Path(shutil.copytree(runs, tmp_path_factory.mktemp('copy') / 'runs'))
    summary(copy)  # in another place, later
    for name in FILES:
        assert (out / name).read_bytes() == (copy / name).read_bytes(), name
    assert (out / FILES[-1]).read_bytes()[:4] == b'\x89PNG'


def test_campaigns_side_by_side(runs, tmp_path_factory):
    root = tmp_path_factory.mktemp('methods')
    coop = Path(shutil.copytree(runs, root / 'coop'))
    add_to_plan(coop, [('dtd', 1, 1)])
    for seed, top1 in enumerate((50.0, 54.0), start=1):
        write_result(root / 'sotglp', 'dtd', 16, seed, top1)
        write_result(root / 'sotglp', 'eurosat', 16, seed, top1 + 20)
    both = [coop, root / 'sotglp']
    with pytest.raises(ValueError, match='--out FOLDER'):
        summarize(both)
    files = summarize(both, root / 'out')
    assert [file.name for file in files] == ['side_by_side.md', 'side_by_side.png']
    text = files[0].read_text()
    assert 'without a result of coop (2):\n\n- dtd, 1 shot, seed 1\n' in text
    assert lines_of(text, 'dtd', '| ')[2:] == [
        '| coop |  | 41.5 ± 2.1 (n=2) | 71.2 (n=1) |',
        '| sotglp |  |  | 52.0 ± 2.8 (n=2) |',
    ]
    assert lines_of(text, 'average', '| sotglp') == ['| sotglp |  |  | 62.0 ± 2.8 (n=2) |']
    # campaigns of other datasets have no average to be compared
    write_result(coop, 'food101', 16, 1, 30.0)
    text = summarize(both, root / 'out')[0].read_text()
    assert '## average' not in text and '## food101' in text
    file = root / 'sotglp' / 'dtd' / '16shot' / 'seed1' / 'result.json'
    file.write_text(file.read_text().replace('per_class', 'stratified'))
    assert 'MIXED, do not compare rows' in summarize(both, root / 'out')[0].read_text()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda text: text.replace('40.0', 'null'), "'accuracy/top1' is None, expected a number"),
        (lambda text: text.replace('"seed": 1', '"seed": 2'), 'are both of dtd, 2 shots, seed 2'),
    ],
)
def test_a_broken_result_is_named(runs, change, message):
    file = runs / 'dtd' / '2shot' / 'seed1' / 'result.json'
    file.write_text(change(file.read_text()))
    with pytest.raises(ValueError) as stop:
        summary(runs)
    assert str(file) in str(stop.value) and message in str(stop.value)


def test_no_results_and_no_such_metric(runs, tmp_path_factory):
    with pytest.raises(FileNotFoundError, match=r'no result\.json below .*sotglp campaign'):
        summary(tmp_path_factory.mktemp('empty'))
    with pytest.raises(ValueError, match=r"--metric accuracy/top5; there are \['accuracy/top1'"):
        summary(runs, metric='accuracy/top5')


def percent(value) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 100


def test_datasets_are_those_of_the_package():
    of_kind: dict[str, list] = {}
    for name, known in KNOWN_SETS.items():
        of_kind.setdefault(known.kind, []).append(name)
    assert NUMBERS['datasets'] == of_kind['few_shot']
    assert NUMBERS['domain_shift_top1']['sets'][1:5] == of_kind['shift']
    assert NUMBERS['ood_imagenet_fpr95_auroc']['sets'][:4] == of_kind['ood']
    # the protocols differ
    assert 'stratified' in NUMBERS['about'] and 'exactly 16' in NUMBERS['about']


@pytest.mark.parametrize('row', NUMBERS['few_shot_top1'], ids=lambda row: row['method'])
def test_few_shot_rows(row):
    assert row['source']
    assert percent(row['mean'])
    if row['values'] is not None:
        assert len(row['values']) == 11 and all(map(percent, row['values']))
        # printed means are rounded, and of rounded cells
        assert row['mean'] == pytest.approx(sum(row['values']) / 11, abs=0.1)


def test_shift_and_ood_rows():
    table = NUMBERS['domain_shift_top1']
    assert table['source']
    for values in table['rows'].values():
        assert len(values) == len(table['sets']) == 6 and all(map(percent, values))
        assert values[5] == pytest.approx(sum(values[1:5]) / 4, abs=0.1)
    table = NUMBERS['ood_imagenet_fpr95_auroc']
    assert table['source']
    for pairs in table['rows'].values():
        assert len(pairs) == len(table['sets']) == 5
        assert all(percent(v) for pair in pairs if pair for v in pair if v is not None)
        if all(pairs):
            for part in (0, 1):
                mean = sum(pair[part] for pair in pairs[:4]) / 4
                assert pairs[4][part] == pytest.approx(mean, abs=0.15)
