"""Resuming: the run continues as if it had never stopped, on the config's settings.

What a resumed run takes from where is a table in docs/train.md.
"""

import random
import warnings
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

from ..class_names.resolve import class_difference
from ..io.checkpoint_file import refusing_checkpoint
from ..io.json_file import as_json, differences, flat
from ..models.learned_state import read_identity
from ..utils.settings import checked_settings

STATES = 'random_states'
RESULT_PARTS = (
    *('model', 'data_preprocessor', 'optim_wrapper', 'param_scheduler', 'auto_scale_lr'),
    *('train_cfg', 'train_dataloader', 'val_cfg', 'val_dataloader', 'val_evaluator'),
    'custom_hooks',
)
"""Parts of a config that decide what a training gives."""

SPEED = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor')
"""Settings of data loaders: these follow the machine, and no item depends on them."""


@HOOKS.register_module()
@checked_settings
class ResumedSettingsHook(Hook):
    """On resuming, settings are the config's; those that differ from before are logged.

    MMEngine takes learning rate, momentum, weight decay and the schedule from the checkpoint, so
    that a run that is given more epochs climbs back to the highest learning rate. Here they are
    the config's, and the schedule is replayed to the epoch of the checkpoint: with an unchanged
    config, the same numbers bit for bit. The state of ``ReduceOnPlateau`` schedules cannot be
    replayed, and is the checkpoint's.
    """

    priority = 'HIGH'

    def __init__(self) -> None:
        self._groups: list[dict] | None = None
        self._before: dict | None = None
        self._weights: dict = {}

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        checkpoint['meta']['settings'] = result_settings(runner.cfg)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the config's settings before MMEngine replaces them."""
        self._before = checkpoint.get('meta', {}).get('settings')
        self._weights = checkpoint.get('state_dict', {})
        if not _can_be_replayed(runner):
            return
        self._groups = [
            {name: value for name, value in group.items() if name != 'params'}
            for group in runner.optim_wrapper.param_groups
        ]
        checkpoint.pop('param_schedulers', None)  # MMEngine then leaves the fresh ones alone
        if runner.cfg.get('resume') and 'optimizer' in checkpoint:
            with refusing_checkpoint('The optimiser'):  # which MMEngine loads next
                runner.optim_wrapper.load_state_dict(dict(checkpoint['optimizer']))

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0:
            return  # a new run, from weights alone or from nothing
        _check_class_order(runner.model, self._weights)
        self._weights = {}
        if self._groups is not None:
            for group, settings in zip(runner.optim_wrapper.param_groups, self._groups):
                group.update(settings)
            _replay(runner)
        lines = ['the checkpoint does not say with which settings it was written']
        if self._before is not None:
            found = differences(self._before, result_settings(runner.cfg))
            lines = [f'{key}: {before} before, {now} now' for key, before, now in found]
        if lines:
            runner.logger.warning(
                'The run resumes with other settings than it had; these count from now on '
                '(docs/train.md, Resuming):\n  ' + '\n  '.join(lines)
            )


def _check_class_order(model: Any, weights: dict) -> None:
    """Prompts are matched by name when they are loaded; the optimiser's buffers are not."""
    for name, part in model.named_modules():
        trained = read_identity(weights, f'{name.removeprefix("module.")}.') or {}
        if 'class_names' not in trained:
            continue
        theirs, ours = trained['class_names'], part.class_names
        if difference := class_difference(theirs, ours, 'the checkpoint', 'the head'):
            raise ValueError(
                f'The run cannot resume with other classes, or another order: {difference}. Use '
                "the checkpoint's class_names and data; or start a new run from its weights, with "
                'load_from and without --resume'
            )


def _schedulers(runner: Runner) -> list[Any]:
    return runner.param_schedulers if isinstance(runner.param_schedulers, list) else []


def _can_be_replayed(runner: Runner) -> bool:
    """In training, with one optimiser, and schedules that depend on the step alone."""
    optim_wrapper = getattr(runner, 'optim_wrapper', None)
    if not isinstance(optim_wrapper, OptimWrapper) or isinstance(optim_wrapper, OptimWrapperDict):
        return False
    return not any(isinstance(each, ReduceOnPlateauParamScheduler) for each in _schedulers(runner))


def _replay(runner: Runner) -> None:
    """Step fresh schedules as often as a run of this config has by now, in its order."""
    epochs, steps = 0, runner.iter
    if isinstance(runner.train_loop, EpochBasedTrainLoop):
        steps = runner.epoch * len(runner.train_dataloader)  # the batch may be another than before
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's: no step of the optimiser in between
        for step in range(1, steps + 1):
            ends = step * runner.epoch // steps > epochs
            epochs += ends
            for by_epoch in (False, True) if ends else (False,):
                for scheduler in _schedulers(runner):
                    if scheduler.by_epoch == by_epoch:
                        scheduler.step()


def result_settings(cfg: Config) -> dict[str, Any]:
    """Settings that decide what a training gives, by dotted key."""
    parts = {name: part for name, part in cfg.to_dict().items() if name in RESULT_PARTS}
    settings = flat(as_json(parts))
    return {key: v for key, v in settings.items() if key.rpartition('.')[2] not in SPEED}


@HOOKS.register_module()
@checked_settings
class RandomStateHook(Hook):
    """Keeps the random generators of every process in the checkpoint, and restores them.

    The states are taken at the end of an epoch and put back at the first step of the next, in
    any run, resumed or not: what happens between (validation, starting workers) draws random
    numbers, too, and must not count. With ``EpochSampler``, whose items do not depend on these
    generators, a resumed run is the undisturbed run, bit for bit, on the same machine, software
    and number of processes and threads. From a checkpoint in the middle of an epoch
    (``CheckpointHook(by_epoch=False)``) MMEngine begins the epoch anew: that is another run.
    """

    def __init__(self) -> None:
        self._states: dict | None = None
        self._gathered: list[dict] | None = None
        self._loaded: dict | None = None
        self._pending = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep them; whether this run resumes shows later."""
        self._loaded = checkpoint.get(STATES)

    def before_train(self, runner: Runner) -> None:
        if runner.iter == 0:
            return  # weights alone were loaded, or nothing
        with refusing_checkpoint('The random states'):
            why = self._take_over(runner)
        if why is not None:
            runner.logger.warning(
                f'The checkpoint {why}: the run continues, but with other random numbers than '
                'without the interruption'
            )

    def before_train_epoch(self, runner: Runner) -> None:
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
            seed = getattr(runner.train_dataloader.sampler, 'seed', None)
            checkpoint[STATES] = dict(processes=self._gathered, sampler_seed=seed)

    def _take_over(self, runner: Runner) -> str | None:
        """Take the loaded states, or say why not."""
        if self._loaded is None:
            return 'holds no states of the random generators'
        gathered = self._loaded['processes']
        if len(gathered) != get_world_size():
            return f'was written by {len(gathered)} processes, this run has {get_world_size()}'
        states = gathered[get_rank()]
        set_random_states(states)  # what does not fit shows now, before anything is trained
        # with randomness.seed=None each start draws one; order and crops need the first
        if self._loaded['sampler_seed'] is not None:
            runner.train_dataloader.sampler.seed = self._loaded['sampler_seed']
        self._gathered, self._states = gathered, states
        return None

    def _take(self) -> None:
        self._states = random_states()
        self._gathered = all_gather_object(self._states)


def random_states() -> dict:
    """States of Python's, NumPy's and torch's generators, as tensors and numbers only."""
    version, words, gauss = random.getstate()
    state: Any = np.random.get_state()
    name, key, *others = state
    numpy = dict(name=name, key=torch.from_numpy(key.astype(np.int64)))
    states = dict(
        python=dict(version=version, words=torch.tensor(words), gauss=gauss),
        numpy=numpy | dict(zip(('position', 'has_gauss', 'cached'), others)),
        torch=torch.get_rng_state(),
    )
    if torch.cuda.is_available():
        states['cuda'] = torch.cuda.get_rng_state()
    return states


def set_random_states(states: dict) -> None:
    """Put the generators back; the states' tensors may be on any device."""
    python, numpy = states['python'], states['numpy']
    random.setstate((python['version'], tuple(python['words'].tolist()), python['gauss']))
    key = numpy['key'].cpu().numpy().astype(np.uint32)
    np.random.set_state(
        (numpy['name'], key, numpy['position'], numpy['has_gauss'], numpy['cached'])
    )
    torch.set_rng_state(states['torch'].cpu())
    if 'cuda' in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states['cuda'].cpu())


@HOOKS.register_module()
@checked_settings
class ResumedValidationHook(Hook):
    """On resuming from the end of an epoch that is to be validated, validate it first.

    MMEngine writes an epoch's checkpoint before it validates the epoch. A run killed between the
    two would end without that validation, and ``save_best`` would keep another epoch for the best.
    Where it was made already, its line is in the log twice, with equal numbers.
    """

    priority = 'LOWEST'  # save_best needs what CheckpointHook.before_train settles

    def before_train(self, runner: Runner) -> None:
        loop = runner.train_loop
        if runner.val_loop is None or not isinstance(loop, EpochBasedTrainLoop):
            return
        if not loop.epoch or loop.iter != loop.epoch * len(loop.dataloader):
            return  # a new run, or a checkpoint from the middle of an epoch
        loop._decide_current_val_interval()
        in_turn = loop.epoch % loop.val_interval == 0 or loop.epoch == loop.max_epochs
        if loop.epoch >= loop.val_begin and in_turn:
            runner.logger.info(f'Validating epoch {loop.epoch}, from whose end this run resumes')
            runner.val_loop.run()
