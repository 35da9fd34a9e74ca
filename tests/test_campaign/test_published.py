"""The data file of published results has the shape that the summary reads."""

import json

import pytest
from mini_runs import REPO

from sotglp_mm.datasets.known_sets import KNOWN_SETS

PUBLISHED = json.loads((REPO / 'sotglp_mm' / 'campaign' / 'published.json').read_text())


def percent(value) -> bool:
    return isinstance(value, (int, float)) and 0 <= value <= 100


def test_datasets_are_those_of_the_package():
    of_kind: dict[str, list] = {}
    for name, known in KNOWN_SETS.items():
        of_kind.setdefault(known.kind, []).append(name)
    assert PUBLISHED['datasets'] == of_kind['few_shot']
    assert PUBLISHED['domain_shift_top1']['sets'][1:5] == of_kind['shift']
    assert PUBLISHED['ood_imagenet_fpr95_auroc']['sets'][:4] == of_kind['ood']
    # the protocols differ
    assert 'stratified' in PUBLISHED['about'] and 'exactly 16' in PUBLISHED['about']


@pytest.mark.parametrize('row', PUBLISHED['few_shot_top1'], ids=lambda row: row['method'])
def test_few_shot_rows(row):
    assert row['source']
    assert percent(row['mean'])
    if row['values'] is not None:
        assert len(row['values']) == 11 and all(map(percent, row['values']))
        # printed means are rounded, and of rounded cells
        assert row['mean'] == pytest.approx(sum(row['values']) / 11, abs=0.1)


def test_shift_and_ood_rows():
    table = PUBLISHED['domain_shift_top1']
    assert table['source']
    for values in table['rows'].values():
        assert len(values) == len(table['sets']) == 6 and all(map(percent, values))
        assert values[5] == pytest.approx(sum(values[1:5]) / 4, abs=0.1)
    table = PUBLISHED['ood_imagenet_fpr95_auroc']
    assert table['source']
    for pairs in table['rows'].values():
        assert len(pairs) == len(table['sets']) == 5
        assert all(percent(v) for pair in pairs if pair for v in pair if v is not None)
        if all(pairs):
            for part in (0, 1):
                mean = sum(pair[part] for pair in pairs[:4]) / 4
                assert pairs[4][part] == pytest.approx(mean, abs=0.15)
