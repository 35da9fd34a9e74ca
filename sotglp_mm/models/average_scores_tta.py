"""Test-time augmentation: the mean over the views of an image."""

import torch
from mmpretrain.models.tta import AverageClsScoreTTA
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from ..functional import OOD_FIELDS
from ..structures import BRANCHES

FIELDS = (*BRANCHES.values(), *OOD_FIELDS.values())


@MODELS.register_module()
class AverageScoresTTA(AverageClsScoreTTA):
    """MMPretrain's ``AverageClsScoreTTA`` for all that our head predicts.

    That one averages ``pred_score`` and keeps everything else of the first view: the label, the
    branches' scores and the OOD scores, which would then be reported as if they were of all views.
    """

    def _merge_single_sample(self, data_samples: list[DataSample]) -> DataSample:
        merged = data_samples[0].new()
        for field in FIELDS:
            if field in merged:
                views = torch.stack([sample.get(field) for sample in data_samples])
                merged.set_field(views.mean(dim=0), field)
        return merged.set_pred_label(merged.pred_score.argmax(dim=-1, keepdim=True))
