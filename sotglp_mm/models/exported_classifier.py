"""A trained classifier as one module of tensors in, tensors out; see ``sotglp_mm.apis.export``."""

import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier
from torch import Tensor, nn

from ..clip.towers import HoldsClipTowers
from ..functional import OOD_FIELDS
from ..functional.ood_scores import needs_local, ood_scores
from ..structures import PRED_SCORE, PRED_SCORE_GLOBAL, PRED_SCORE_LOCAL


class ExportedClassifier(nn.Module):
    """A classifier without its text tower: the features of its prompts are constants.

    ``torch.export`` can trace it with any batch size.

    Args:
        model (ImageClassifier): In eval mode, with a :class:`SOTGLPHead`. Its parts are shared.
        temperature (float): Of the probabilities of both branches together. Defaults to 1.
    """

    def __init__(self, model: ImageClassifier, temperature: float = 1.0) -> None:
        super().__init__()
        self.global_text: Tensor
        self.local_text: Tensor
        head = model.head
        neck = model.neck if model.with_neck else nn.Identity()
        self.features = nn.Sequential(model.backbone, neck)
        # parts do not register the tower that they use; what is traced must have its weights
        holders = [each for each in self.features.modules() if isinstance(each, HoldsClipTowers)]
        self.visual = nn.ModuleList(dict.fromkeys(each.towers.clip.visual for each in holders))
        self.scale = float(head.towers.logit_scale)
        self.temperature = temperature
        self.ood_methods, self.ood_tau = head.ood_methods, head.ood_tau
        self.local_scores = None
        with torch.no_grad():
            # a mean of cosines over prompts is the cosine with their mean: a linear classifier
            self.register_buffer('global_text', head.global_text().mean(dim=1))
            if head.local_prompts is not None:
                self.register_buffer('local_text', head.local_text())
                self.selector, self.local_loss = head.selector, head.local_loss
                self.local_scores = head.local_scores

    @property
    def output_names(self) -> tuple[str, ...]:
        """DataSample fields, in the order of :meth:`forward`."""
        local = () if self.local_scores is None else (PRED_SCORE_LOCAL,)
        ood = (OOD_FIELDS[method] for method in self.ood_methods)
        return (PRED_SCORE, PRED_SCORE_GLOBAL, *local, *ood)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """What :meth:`SOTGLPHead.predict` says of normalised images (B, 3, H, W), tempered.

        Probabilities (B, C) of both branches together, of the global one and, unless N = 0, of the
        local one; OOD scores (B,), or (B, T).
        """
        feats = self.features(images)
        scores = [F.linear(feats.image, self.global_text)]
        if self.local_scores is not None:
            scores.append(self.local_scores(feats.patches, self.local_text))
        branches = [torch.stack(scores).mean(dim=0) / self.temperature, *scores]
        probabilities = [(self.scale * each).softmax(dim=-1) for each in branches]
        text = self.local_text if needs_local(self.ood_methods) else None
        found = ood_scores(self.ood_methods, self.ood_tau, scores[0], feats.patches, text)
        return (*probabilities, *found.values())
