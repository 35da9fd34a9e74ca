"""Time a campaign from stored features in one process, and process by process.

    python tests/measure_campaign.py    # two miniature datasets, two shots, three seeds

prints seconds of the clock and of processors for each, and checks that results are equal.
"""

import os
import tempfile
import time
from pathlib import Path

import torch
from mini_campaign import write_campaign
from released import FIXTURES, Released

from sotglp_mm.campaign import run_campaign
from sotglp_mm.campaign.records import RESULT


def main() -> None:
    """Store features, run both ways, compare."""
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix='measure_campaign_'))
    os.environ |= {'DATA': str(folder), 'OMP_NUM_THREADS': '1'}
    names = write_campaign(folder, Released(FIXTURES[0], folder).clip, datasets=2)
    settings = dict(datasets=names, shots=[1, 2], seeds=[1, 2, 3], features=folder / 'features')
    settings['configs'] = f'{folder}/mini_{{dataset}}.py'
    run_campaign(work_dir=folder / 'first', **settings)  # stores the features
    seconds, results = {}, []
    for way, in_process in (('in one process', True), ('process by process', False)):
        before, clock = os.times(), time.perf_counter()
        assert not run_campaign(work_dir=folder / way, in_process=in_process, **settings)
        used = [now - then for now, then in zip(os.times()[:4], before[:4])]
        seconds[way] = time.perf_counter() - clock, sum(used)
        files = sorted((folder / way).rglob(RESULT))
        results.append({file.relative_to(folder / way): file.read_text() for file in files})
    assert results[0] == results[1] and len(results[0]) == 12
    for way, (elapsed, used) in seconds.items():
        print(f'{way}: {elapsed:.0f} s, {used:.0f} s of processors')
    here, apart = seconds.values()
    print(f'ratio: {apart[0] / here[0]:.1f}; of processors {apart[1] / here[1]:.1f}')


if __name__ == '__main__':
    main()
