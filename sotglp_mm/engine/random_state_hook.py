"""Resuming goes on with the random numbers that would have come next."""

from typing import Any

from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..io.checkpoint_file import refusing_checkpoint
from ..utils.settings import checked_settings
from .random_states import random_states, set_random_states

KEY = 'random_states'


@HOOKS.register_module()
@checked_settings
class RandomStateHook(Hook):
    """Keeps the random generators of every process in the checkpoint, and restores them.

    The states are taken at the end of an epoch and put back at the first step of the next, in
    any run, resumed or not: what happens between (validation, starting workers) draws random
    numbers, too, and must not count. With ``EpochSampler``, whose items do not depend on these
    generators, a resumed run is the undisturbed run, bit for bit, on the same machine, software
    and number of processes and threads.

    This holds for checkpoints at the end of an epoch. One from the middle of an epoch
    (``CheckpointHook(by_epoch=False)``) holds the states of the epoch's beginning; MMEngine
    itself begins the epoch anew there, so such a resumed run is another run.
    """

    def __init__(self) -> None:
        self._states: dict | None = None
        self._gathered: list[dict] | None = None
        self._loaded: dict | None = None
        self._pending = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember what the checkpoint holds; whether this run resumes shows later."""
        self._loaded = checkpoint.get(KEY)

    def before_train(self, runner: Runner) -> None:
        """If the run goes on from a checkpoint, take its states."""
        if runner.iter == 0:
            return  # weights alone were loaded, or nothing
        with refusing_checkpoint('The random states'):
            why = self._take_over(get_world_size(), runner)
        if why is not None:
            runner.logger.warning(
                f'The checkpoint {why}: the run goes on, but with other random numbers than '
                'without the interruption'
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """The first epoch begins with the states of now."""
        if self._states is None:
            self._take()
        self._pending = True

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """At the epoch's first step: the loader's iterator has drawn its seed by now."""
        if self._pending and self._states is not None:
            set_random_states(self._states)
            self._pending = False

    def after_train_epoch(self, runner: Runner) -> None:
        """Before the checkpoint is written, in all processes."""
        self._take()

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the states; this is called in the first process only."""
        if self._gathered is not None:
            checkpoint[KEY] = dict(processes=self._gathered, sampler_seed=_sampler_seed(runner))

    def _take_over(self, processes: int, runner: Runner) -> str | None:
        """Take the loaded states, or say why not."""
        if self._loaded is None:
            return 'holds no states of the random generators'
        gathered = self._loaded['processes']
        if len(gathered) != processes:
            return f'was written by {len(gathered)} processes, this run has {processes}'
        states = gathered[get_rank()]
        set_random_states(states)  # what does not fit shows now, before anything is trained
        _set_sampler_seed(runner, self._loaded['sampler_seed'])
        self._gathered, self._states = gathered, states
        return None

    def _take(self) -> None:
        self._states = random_states()
        self._gathered = all_gather_object(self._states)


def _sampler(runner: Runner) -> Any:
    sampler = runner.train_dataloader.sampler
    return sampler if hasattr(sampler, 'seed') else None


def _sampler_seed(runner: Runner) -> int | None:
    sampler = _sampler(runner)
    return None if sampler is None else int(sampler.seed)


def _set_sampler_seed(runner: Runner, seed: int | None) -> None:
    """With ``randomness.seed=None`` each start draws one; order and crops need the first."""
    sampler = _sampler(runner)
    if sampler is not None and seed is not None:
        sampler.seed = seed
