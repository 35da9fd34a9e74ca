"""How far probabilities are from the part of images that are right."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from ..functional import NUM_BINS, Reliability, reliability, tempered
from ..io.files import write_atomically
from ..utils.settings import checked_settings


@METRICS.register_module()
@checked_settings
class CalibrationError(BaseMetric):
    """Expected calibration error of the combined probabilities, in percent.

    Logged as ``calibration/ece<bins>``, e.g. ``calibration/ece15``; where the checkpoint was
    calibrated, also ``calibration/ece15_calibrated``, of the probabilities after its temperature.
    Images without a label do not count. See :func:`reliability`.

    Args:
        bins (int): Of equal width. Defaults to 15.
        temperature (float, optional): ``sotglp test`` takes that of the checkpoint. Defaults to
            None: there is none.
        diagram (str, optional): File for a reliability diagram, e.g. 'reliability.png'; our
            commands put a relative path below the work dir. It needs matplotlib. Defaults to
            None: none is drawn.
        prefix (str): Defaults to 'calibration'.
        **kwargs: As in MMEngine's ``BaseMetric``.
    """

    def __init__(
        self,
        bins: int = NUM_BINS,
        temperature: float | None = None,
        diagram: str | None = None,
        prefix: str = 'calibration',
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix=prefix, **kwargs)
        if bins < 1:
            raise ValueError(f'CalibrationError: bins must be at least 1, got {bins}')
        self.bins = bins
        self.temperature = temperature
        self.diagram = diagram

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            label = sample.get('gt_label')
            if label is None or not len(label):
                self.results.append(())  # every image needs its place when results are gathered
                continue
            score = sample['pred_score'].cpu()
            after = tempered(score, self.temperature or 1.0)
            right = int(score.argmax()) == int(label[0])
            self.results.append((float(score.max()), float(after.max()), right))

    def compute_metrics(self, results: list) -> dict[str, float]:
        found = [result for result in results if result]
        if not found:
            return {}
        *confidences, right = torch.tensor(found, dtype=torch.float64).T
        names = [f'ece{self.bins}']
        names += [] if self.temperature is None else [f'ece{self.bins}_calibrated']
        of_kind = {n: reliability(each, right, self.bins) for n, each in zip(names, confidences)}
        if self.diagram:
            write_atomically(self.diagram, _picture(of_kind, Path(self.diagram).suffix[1:]))
        return {name: 100 * each.error for name, each in of_kind.items()}


def _picture(of_kind: dict[str, Reliability], suffix: str) -> bytes:
    """Accuracy over confidence; each bin's number of images below."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * len(of_kind) + 0.4, 4.4), layout='constrained')
    panels = figure.subplots(
        2, len(of_kind), squeeze=False, sharex=True, sharey='row', height_ratios=(3, 1)
    )
    for (name, each), ax, below in zip(of_kind.items(), *panels):
        width = 1 / len(each.images)
        left = [i * width for i in range(len(each.images))]
        ax.bar(left, each.accuracy.nan_to_num(0).tolist(), width, align='edge', edgecolor='white')
        ax.plot(each.confidence, each.accuracy, 'ko', markersize=3, clip_on=False)
        ax.plot([0, 1], [0, 1], 'k--', linewidth=0.8)
        ax.set_title(f'{name}: {100 * each.error:.1f} %')
        below.bar(left, each.images.tolist(), width, align='edge', color='grey', edgecolor='white')
        below.set_xlabel('confidence')
        ax.set(xlim=(0, 1), ylim=(0, 1))
    panels[0, 0].set_ylabel('accuracy')
    panels[1, 0].set_ylabel('images')
    stream = io.BytesIO()
    figure.savefig(stream, format=suffix or 'png', dpi=150)
    return stream.getvalue()
