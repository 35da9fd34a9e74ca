"""A process dies or hangs: the others stop within a minute, and say why."""

import json
import signal

import pytest
import torch.distributed as dist
from lost_work import LOST, STEPS, TIMEOUT, work
from process_group import start_processes

from sotglp_mm.engine import explaining_lost_process

WORLD = 3


@pytest.mark.parametrize('way', ['die', 'hang'])
@pytest.mark.parametrize('step', STEPS)
def test_the_others_stop(tmp_path, step: str, way: str):
    processes = start_processes(work, WORLD, str(tmp_path), step, way)
    for process in processes:
        process.join(timeout=60)
    codes = [process.exitcode for process in processes]
    assert codes == [0, -signal.SIGKILL if way == 'die' else 0, 0]
    for rank in {0, 1, 2} - {LOST}:
        said = json.loads((tmp_path / f'{rank}.json').read_text())
        assert said['message'].startswith(
            f'process {rank} of {WORLD} stops: another one ended, or has not answered for longer '
            'than env_cfg.dist_cfg.timeout seconds. The cause is the first error in the output'
        )
        assert said['seconds'] < (10 if way == 'die' else TIMEOUT + 10)


@pytest.mark.parametrize('message', ['gloo: connection closed', 'mat1 and mat2 do not fit'])
def test_without_other_processes_an_error_is_left_alone(message: str):
    assert not dist.is_initialized()
    with pytest.raises(RuntimeError) as error, explaining_lost_process():
        raise RuntimeError(message)
    assert str(error.value) == message
