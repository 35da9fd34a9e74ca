"""Two processes, with a padded share, evaluate what one process evaluates."""

import json
from pathlib import Path

import torch.multiprocessing as mp
from metric_work import SETS, evaluate, work


def test_two_processes_equal_one(tmp_path: Path):
    expected = evaluate(list(range(len(SETS))))
    assert {'ood/mcm_T0.01/far/auroc', 'accuracy/near/top1', 'accuracy/mean/mean_class'} < set(
        expected
    )
    mp.spawn(work, (2, str(tmp_path)), nprocs=2)
    rows = []
    for rank in range(2):
        saved = json.loads((tmp_path / f'{rank}.json').read_text())
        assert saved['found'] == expected
        rows += saved['rows']
    assert len(rows) == 12 > len(SETS)  # an image was processed twice, and counted once
