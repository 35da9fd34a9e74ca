"""Accuracy of one branch of the prediction."""

from collections.abc import Sequence

from mmpretrain.evaluation import Accuracy
from mmpretrain.registry import METRICS

from ..structures import PRED_SCORE_GLOBAL, PRED_SCORE_LOCAL

_FIELDS = {'global': PRED_SCORE_GLOBAL, 'local': PRED_SCORE_LOCAL}


@METRICS.register_module()
class BranchAccuracy(Accuracy):
    """MMPretrain's ``Accuracy`` of the global or the local branch alone.

    Logged as ``accuracy_global/top1`` or ``accuracy_local/top1``. Where a head has no such
    branch there is nothing to log.

    Args:
        branch (str): 'global' or 'local'.
        **kwargs: As in ``Accuracy``.

    Raises:
        ValueError: ``branch`` is not known.
    """

    def __init__(self, branch: str, **kwargs):
        if branch not in _FIELDS:
            raise ValueError(
                f'BranchAccuracy: branch={branch!r} is not known; choose one of {sorted(_FIELDS)}'
            )
        kwargs.setdefault('prefix', f'accuracy_{branch}')
        super().__init__(**kwargs)
        self.field = _FIELDS[branch]

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the branch's scores of a batch."""
        for sample in data_samples:
            if self.field in sample:
                score = sample[self.field].cpu()
                self.results.append(dict(pred_score=score, gt_label=sample['gt_label'].cpu()))

    def evaluate(self, size: int) -> dict:
        """Metrics over ``size`` images, or none without this branch."""
        return super().evaluate(size) if self.results else {}
