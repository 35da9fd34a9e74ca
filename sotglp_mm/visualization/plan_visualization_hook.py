"""Pictures of plans while a run evaluates."""

from collections.abc import Sequence
from pathlib import PurePath

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS
from mmpretrain.structures import DataSample

from ..structures import SET_NAME
from ..utils.settings import check_choice, checked_settings
from .draw_plan import draw_plan
from .plan_picture import CHOICES, classifier_problem, pictures_of_batch, true_label


@HOOKS.register_module()
@checked_settings
class PlanVisualizationHook(Hook):
    """Draws plans of some images of every evaluation, and of wrong predictions.

    The pictures go to the run's visualizer, and so to whatever ``vis_backends`` there are. In a
    distributed run the main process draws, of the images that it sees. A model or data that have
    no plan to draw (cached features, a linear head) are left alone, with a warning.

    Args:
        num_images (int): Pictures of an evaluation, whatever was predicted. Defaults to 8.
        interval (int): Every so many images, from the first one on, one is drawn, until there are
            ``num_images``. Defaults to 1.
        classes (str): Whose plans: ``'predicted'``, ``'true'`` or ``'both'``. Defaults to 'both'.
        num_wrong (int): Further pictures, of the first wrong predictions. Defaults to 8.
    """

    priority = 'NORMAL'

    def __init__(
        self, num_images: int = 8, interval: int = 1, classes: str = 'both', num_wrong: int = 8
    ):
        check_choice('PlanVisualizationHook', 'classes', classes, CHOICES)
        if interval < 1 or num_images < 0 or num_wrong < 0:
            raise ValueError(
                'PlanVisualizationHook: interval must be at least 1, num_images and num_wrong at '
                f'least 0; got {interval}, {num_images} and {num_wrong}'
            )
        self.num_images, self.num_wrong = num_images, num_wrong
        self.interval = interval
        self.classes = classes
        self._warned = False
        self._start()

    def _start(self, runner: Runner = None) -> None:
        self._seen, self._left, self._wrong_left = 0, self.num_images, self.num_wrong

    before_val_epoch = before_test_epoch = _start

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence
    ) -> None:
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self._draw(runner, data_batch, outputs, runner.epoch if by_epoch else runner.iter)

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict, outputs: Sequence
    ) -> None:
        self._draw(runner, data_batch, outputs, step=0)

    def _draw(
        self, runner: Runner, data_batch: dict, outputs: Sequence[DataSample], step: int
    ) -> None:
        names = self._choose(outputs)
        if not names or not is_main_process():
            return
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        inputs = data_batch['inputs']
        problem = classifier_problem(model, inputs)
        if problem is not None:
            if not self._warned:
                runner.logger.warning(f'PlanVisualizationHook draws nothing: {problem}')
            self._warned = True
            return
        chosen = [outputs[row] for row in names]
        pictures = pictures_of_batch(model, [inputs[row] for row in names], chosen, self.classes)
        for name, picture in zip(names.values(), pictures):
            runner.visualizer.add_image(name, draw_plan(picture), step)

    def _choose(self, outputs: Sequence[DataSample]) -> dict[int, str]:
        """Positions in the batch of the images to draw, and names of their pictures."""
        names = {}
        for row, sample in enumerate(outputs):
            if self._left and (self._seen + row) % self.interval == 0:
                self._left -= 1
                names[row] = _name('plan', sample, self._seen + row)
            elif self._wrong_left and true_label(sample) not in (None, int(sample.pred_label)):
                self._wrong_left -= 1
                names[row] = _name('plan_wrong', sample, self._seen + row)
        self._seen += len(outputs)
        return names


def _name(kind: str, sample: DataSample, index: int) -> str:
    """The same in every evaluation, and without a slash, which LocalVisBackend cannot save."""
    words = [kind, sample.get(SET_NAME, ''), f'{sample.get("sample_idx", index):05d}']
    words.append(PurePath(sample.get('img_path') or '').stem)
    return '_'.join(word for word in words if word)
