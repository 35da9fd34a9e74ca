"""Checks of a run before its first step, and of its numbers while it trains."""

from typing import Any

import torch
from mmengine.dist import all_gather_object
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from ..class_names.resolve import class_difference
from ..datasets.data_identity import innermost
from ..features.format import read_manifest
from ..io.checkpoint_file import not_finite
from ..io.json_file import differences
from ..io.names import some_of
from ..utils.settings import checked_settings
from .few_shot_record_hook import few_shot_sets

FEATURE_PARTS = ('backbone', 'data_preprocessor')
"""What the model's feature cache and a loader's must share; splits may well differ."""

SHOWN = 10
ADVICE = (
    'Earlier checkpoints are as they were. Lower optim_wrapper.optimizer.lr; with --amp or '
    '--precision, try without it, or with bfloat16; and look at these images'
)


class DatasetCheckHook(Hook):
    """Calls ``check`` for each dataset before it is used; a base class."""

    def before_train(self, runner: Runner) -> None:
        self.check(runner, runner.train_dataloader.dataset)
        if runner.val_loop is not None:
            self.check(runner, runner.val_loop.dataloader.dataset)

    def before_val(self, runner: Runner) -> None:
        self.check(runner, runner.val_dataloader.dataset)

    def before_test(self, runner: Runner) -> None:
        self.check(runner, runner.test_dataloader.dataset)

    def check(self, runner: Runner, dataset: Any) -> None:
        """Raise ``ValueError`` if a dataset does not fit the model."""
        raise NotImplementedError


@HOOKS.register_module()
@checked_settings
class ClassNamesCheckHook(DatasetCheckHook):
    """Compares the head's class names with the dataset's before the first step.

    A label is a position in a list of names: if the lists differ, every number of a run is wrong,
    and nothing else shows it. Underscores count as spaces, as in prompts. Heads without
    ``class_names`` are left alone; of a ``MultiTaskHead``, the one task head that has them counts.
    """

    def check(self, runner: Runner, dataset: Any) -> None:
        _check_one_clip(runner.model)
        head = naming_head(runner.model)
        found = dataset.metainfo.get('classes')
        if head is None or found is None:
            return
        head.class_names_checked = True
        if difference := class_difference(head.class_names, found, 'the head', 'the dataset'):
            raise ValueError(
                f'{type(head).__name__} and {type(dataset).__name__} differ in their '
                f'classes: {difference}. Set class_names of the head to the classes of the '
                'dataset, in its order.'
            )


def _check_one_clip(model: Any) -> None:
    """Images of one CLIP beside texts of another give numbers, and the numbers mean nothing."""
    parts = [part for part in model.modules() if hasattr(part, 'towers')]
    keys = ('weights_sha256', 'quick_gelu')
    clips = {tuple(part.towers.identity[k] for k in keys): type(part).__name__ for part in parts}
    if len(clips) > 1:
        raise ValueError(
            f'Parts of the model have different CLIPs, {" and ".join(clips.values())} among them. '
            "Give one to all of them: model=dict(type='CLIPClassifier', clip=dict(...), ...)"
        )


def naming_head(model: Any) -> Any:
    """The head that has ``class_names``; None if none has, or several have."""
    head = getattr(_unwrapped(model), 'head', None)
    heads = [head, *getattr(head, 'task_heads', {}).values()]
    naming = [each for each in heads if hasattr(each, 'class_names')]
    return naming[0] if len(naming) == 1 else None


def _unwrapped(model: Any) -> Any:
    while hasattr(model, 'module'):  # distributed training and test-time augmentation wrap it
        model = model.module
    return model


@HOOKS.register_module()
@checked_settings
class FeatureCacheCheckHook(DatasetCheckHook):
    """Compares the cache that a loader reads with the one that the backbone stands for.

    Each checks its own; a run that names two would put features of one tower under the settings
    of another. Two caches of the same tower and preprocessing pass.
    """

    def check(self, runner: Runner, dataset: Any) -> None:
        ours = getattr(getattr(_unwrapped(runner.model), 'backbone', None), 'feature_cache', None)
        caches = [getattr(each, 'feature_cache', None) for each in innermost(dataset)]
        for other in filter(None, caches):
            if ours is None:
                return
            first, second = (
                {part: read_manifest(cache)[part] for part in FEATURE_PARTS}
                for cache in (ours, other)
            )
            for where, model, loader in differences(first, second):
                raise ValueError(
                    f'the model stands for the feature cache {ours}, but a dataset reads {other}, '
                    f'which was made from something else: {where} is {model} in the first and '
                    f"{loader} in the second. Give model.backbone.cache and the loaders' "
                    'dataset.cache the same folder.'
                )


@HOOKS.register_module()
@checked_settings
class EmptyEpochHook(Hook):
    """Stops a run whose epochs are empty.

    Few shots, a large batch and ``drop_last`` leave no batch; MMEngine would count on to the end.
    """

    def before_train(self, runner: Runner) -> None:
        loader = runner.train_dataloader
        if not len(loader):
            raise ValueError(
                f'Not a single batch: the training set has {len(loader.dataset)} images, one '
                f'process takes batches of {loader.batch_size}, and drop_last={loader.drop_last}. '
                'Look at train_dataloader.dataset (folder, split, shots); set '
                'train_dataloader.batch_size to at most the number of images of a process, or '
                'train_dataloader.drop_last=False.'
            )


@HOOKS.register_module()
@checked_settings
class ProcessesCheckHook(Hook):
    """Stops a distributed run whose processes do not do the same.

    Class lists, few-shot draws, CLIP weights and checkpoints may differ from machine to machine.
    """

    def before_train(self, runner: Runner) -> None:
        first, *others = all_gather_object(_situation(runner))
        for rank, other in enumerate(others, start=1):
            for what, ours, theirs in differences(first, other):
                raise ValueError(
                    f'The processes of this run differ. {what}: {ours} in process 0 and {theirs} '
                    f'in process {rank}. All need the same config, data, CLIP weights and work '
                    'dir; copy them, or put them on a disk that all machines share.'
                )


def _situation(runner: Runner) -> dict[str, Any]:
    """All that must be equal, by what it is called in a message."""
    few_shot = few_shot_sets(runner.train_dataloader.dataset)
    states = {
        name: bytes(value.flatten().tolist()).decode()
        for name, value in runner.model.state_dict().items()
        if name.endswith('_extra_state') and isinstance(value, torch.Tensor)
    }
    return {
        'Class names': list(getattr(naming_head(runner.model), 'class_names', ())),
        'CLIP': states,
        'Few-shot images': [row for each in few_shot for row in each.few_shot_record()['images']],
        'Place to continue from (epoch, iteration)': (runner.epoch, runner.iter),
        'Batches in an epoch': len(runner.train_dataloader),
    }


@HOOKS.register_module()
@checked_settings
class LearnedParametersHook(Hook):
    """Logs the parameters that learn, and stops a run in which none does."""

    def before_train(self, runner: Runner) -> None:
        learned = {
            name.removeprefix('module.'): parameter
            for name, parameter in runner.model.named_parameters()
            if parameter.requires_grad
        }
        if not learned:
            raise ValueError(
                'Nothing learns in this run: no parameter of the model asks for a gradient. '
                'Learn the prompts or the projection (neck.learn=True), or use tools/test.py.'
            )
        total = sum(parameter.numel() for parameter in learned.values())
        lines = [f'Learning {total:,} parameters; CLIP is frozen']
        lines += [f'  {name} {tuple(p.shape)}: {p.numel():,}' for name, p in learned.items()]
        runner.logger.info('\n'.join(lines))


@HOOKS.register_module()
@checked_settings
class FiniteLossHook(Hook):
    """Stops a run at the first loss that is NaN or infinite, before it is saved anywhere.

    The check costs one synchronisation with the device in an iteration. Weights are checked when
    a checkpoint is written: a gradient can be NaN although the loss is not.
    """

    priority = 'HIGH'  # before anything is logged or saved

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        losses = {
            name: value.detach().float().reshape(())
            for name, value in (outputs or {}).items()
            if 'loss' in name and isinstance(value, torch.Tensor)
        }
        if not losses or torch.stack(list(losses.values())).isfinite().all():
            return
        shown = {name: f'{name}={float(value):.6g}' for name, value in losses.items()}
        bad = [shown.pop(name) for name, value in losses.items() if not value.isfinite()]
        fine = f'; finite: {", ".join(shown.values())}' if shown else ''
        where = f'iteration {runner.iter + 1} (epoch {runner.epoch + 1}, batch {batch_idx + 1})'
        raise ValueError(
            f'The loss is not finite in {where}: {", ".join(bad)}{fine}. '
            f'The batch: {_images(data_batch)}. {ADVICE}'
        )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if bad := not_finite(checkpoint['state_dict']):
            raise ValueError(
                f'No checkpoint is written at iteration {runner.iter + 1}: {", ".join(bad)} '
                f'hold(s) NaN or infinite values, although the loss was finite. {ADVICE} of the '
                'last batch'
            )


def _images(data_batch: Any) -> str:
    """Path, or else index, of at most ``SHOWN`` images of a batch, and how many there are."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    if not samples:
        return 'unknown images'
    named = [
        str(sample.get('img_path') or f'sample_idx {sample.get("sample_idx", "unknown")}')
        for sample in samples
    ]
    return f'{len(samples)} images: {some_of(named, SHOWN)}'
