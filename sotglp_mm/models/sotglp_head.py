"""The prompts, what they score, and what they learn from."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank, get_world_size
from mmengine.logging import print_log
from mmpretrain.evaluation import Accuracy
from mmpretrain.models.heads import ClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from ..class_names.resolve import class_difference, resolve_class_names
from ..clip.load import towers_for_part
from ..functional import OOD_SCORES, mean_cosine, selected_similarity
from ..functional.ood_scores import needs_local, ood_scores
from ..io.checkpoint_file import CheckpointMismatch
from ..structures import OOD_TAU, PRED_SCORE_GLOBAL, PRED_SCORE_LOCAL, Allocation, ImageFeatures
from ..utils.settings import checked_settings
from .learned_state import KeepsIdentity, LoadsWholeState, read_identity
from .prompt_text_encoder import PromptTextEncoder, TextFeatureCache
from .prompts import check_prompt_settings, initial_local_prompts, match_classes
from .sample_fields import competing_classes, leave_out_others, set_allocation


@MODELS.register_module()
@checked_settings
class SOTGLPHead(KeepsIdentity, LoadsWholeState, ClsHead):
    """Local-global prompt learning via sparse optimal transport (arXiv 2603.08347).

    Shared global prompts match the image embedding. Class-specific local prompts match patches:
    a selector picks one sparse set of patches for each class, and optimal transport divides it
    among the class's prompts. Only the prompts learn.

    Parameters: ``global_prompts`` (G, M, d) and ``local_prompts`` (C, N, M, d), or (N, M, d) with
    ``local_shared``.

    Args:
        class_names (str | Sequence[str]): See :func:`resolve_class_names`.
        clip (dict, optional): A CLIP of this part's own, ``dict(model_name=..., pretrained=...)``,
            see :func:`load_clip`. Defaults to that of the :class:`CLIPClassifier` around it.
        num_global_prompts (int): G. Defaults to 3.
        num_local_prompts (int): N, for each class; 0 leaves the local branch out (then G = 1 is
            CoOp). Defaults to 4.
        prompt_dropout (float): Part of the global prompts that an image does not see in training:
            ``max(G - int(prompt_dropout * G), 1)`` are drawn, with replacement. Defaults to 0.75.
        context (str): Words whose token embeddings the global prompts start from; their number
            of tokens is M. Defaults to 'a photo of a'.
        local_init (str): How local prompts start: ``'random'``, ``'orthogonal'`` or
            ``'template'``; see :func:`initial_local_prompts`. Defaults to 'random'.
        local_shared (bool): One set of local prompts (N, M, d) for all classes, as in PLOT and
            GalLoP, instead of one for each. Defaults to False.
        selector (dict): Defaults to ``dict(type='SparsePatchSelector')``.
        local_loss (dict): Defaults to ``dict(type='OTAllocationLoss')``.
        loss (dict): Loss of the global branch. Defaults to ``dict(type='CrossEntropyLoss')``.
        class_chunk (int | str, optional): Bounds the memory of the text tower in training by
            encoding so many classes at a time, and again in the backward pass; see
            :class:`PromptTextEncoder`. Defaults to 'auto'.
        keep_underscores (bool): Do not read underscores of class names as spaces; the released
            program keeps them. Defaults to False.
        ood_methods (Sequence[str]): OOD scores that ``predict`` adds: 'mcm', 'l_mcm', 'gl_mcm'.
            Defaults to none.
        ood_tau (float | Sequence[float]): Their temperature, or several, > 0. Defaults to 1.
        report_allocation (bool): Let ``predict`` add how the image's class divides its patches,
            for :class:`AllocationMetric`: ``allocation_support``, ``allocation_plan`` and
            ``prompt_cosine``, ``similarity_spread``. Defaults to False.
        load_shared (bool | str): Let a checkpoint of other classes be loaded: global prompts, and
            local ones of classes that it has by name. The other classes keep their initial local
            prompts, to be trained; with 'text' they get CLIP's text, ``context``, N times, to be
            tested. Defaults to False.
        topk (int | Sequence[int]): As in ``ClsHead``, for ``cal_acc``. Defaults to 1.
        cal_acc (bool): Also log the accuracy of a training step, of both branches together, with
            the global prompts that were drawn. Defaults to False.
    """

    def __init__(
        self,
        class_names: str | Sequence[str],
        clip: dict | None = None,
        num_global_prompts: int = 3,
        num_local_prompts: int = 4,
        prompt_dropout: float = 0.75,
        context: str = 'a photo of a',
        local_init: str = 'random',
        local_shared: bool = False,
        selector: dict = dict(type='SparsePatchSelector'),
        local_loss: dict = dict(type='OTAllocationLoss'),
        loss: dict = dict(type='CrossEntropyLoss'),
        class_chunk: int | str | None = 'auto',
        keep_underscores: bool = False,
        ood_methods: Sequence[str] = (),
        ood_tau: float | Sequence[float] = 1.0,
        report_allocation: bool = False,
        load_shared: bool | str = False,
        topk: int | Sequence[int] = (1,),
        cal_acc: bool = False,
        init_cfg: dict | None = None,
    ):
        topk = (topk,) if isinstance(topk, int) else tuple(topk)
        super().__init__(loss=loss, topk=topk, cal_acc=cal_acc, init_cfg=init_cfg)
        check_prompt_settings(num_global_prompts, num_local_prompts, prompt_dropout, local_init)
        _check_ood(ood_methods, ood_tau, num_local_prompts)
        if load_shared not in (False, True, 'text'):
            raise ValueError(
                f"SOTGLPHead: load_shared={load_shared!r}; expected False, True or 'text'"
            )
        self.load_shared, self.context = load_shared, context
        self.class_names_checked = False  # ClassNamesCheckHook sets it
        self.report_allocation = report_allocation and num_local_prompts > 0
        self.ood_methods = tuple(ood_methods)
        self.ood_tau = tuple(ood_tau) if isinstance(ood_tau, Sequence) else float(ood_tau)
        self.class_names = resolve_class_names(class_names)
        self.towers = towers_for_part(clip)
        words = self.towers.text.embed_words(context)
        self.text_encoder = PromptTextEncoder(
            self.towers, self.class_names, len(words), class_chunk, keep_underscores
        )
        self.num_kept = max(num_global_prompts - int(prompt_dropout * num_global_prompts), 1)

        self.global_prompts = nn.Parameter(words.repeat(num_global_prompts, 1, 1))
        self._text_caches = TextFeatureCache(), TextFeatureCache()  # global, local
        self.local_prompts = None
        if num_local_prompts:
            count = 1 if local_shared else self.num_classes
            prompts = initial_local_prompts(words, count, num_local_prompts, local_init)
            self.local_prompts = nn.Parameter(prompts[0] if local_shared else prompts)
            self.selector = MODELS.build(selector)
            self.local_loss = MODELS.build(local_loss)

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)

    def loss(self, feats: ImageFeatures, data_samples: list[DataSample], **kwargs: Any) -> dict:
        """``loss_global``, unless N = 0 ``loss_local``, and with ``cal_acc`` ``accuracy_top-<k>``.

        Args:
            feats: ``patches`` (B, P, D) and ``image`` (B, D), unit length.
            data_samples: With ``gt_label``, or ``gt_score`` (mixup).
        """
        self._ask_for_check()
        self._check_features(feats)
        if 'gt_score' in data_samples[0]:
            target = torch.stack([sample.gt_score for sample in data_samples])
        else:
            target = torch.cat([sample.gt_label for sample in data_samples])
        scale, local = self.towers.logit_scale, None
        text = self.global_text()
        with _no_autocast(text):
            scores = self._train_global_scores(feats.image, text)
            logits = scale * scores
            loss = self.loss_module(logits, target, avg_factor=len(logits), **kwargs)
            losses = dict(loss_global=loss)
        if self.local_prompts is not None:
            text = self.local_text()
            with _no_autocast(text):
                local = self.local_scores(feats.patches, text)
                losses['loss_local'] = self.local_loss(local, target, scale)
        if self.cal_acc:
            if target.ndim > 1:
                problem = 'cal_acc=True, but labels are mixed (mixup, cutmix); leave cal_acc out'
                raise ValueError(f'SOTGLPHead: {problem}')
            logits = self._logits(scores, local)
            # no threshold: by default, places below a logit of 0 do not count
            values = Accuracy.calculate(logits, target, topk=self.topk, thrs=(None,))
            losses |= {f'accuracy_top-{k}': value[0] for k, value in zip(self.topk, values)}
        return losses

    def _check_features(self, feats: ImageFeatures) -> None:
        width = self.towers.image.joint_width
        if not isinstance(feats, ImageFeatures) or feats.image.shape[-1] != width:
            shapes = [tuple(each.shape) for each in feats]
            raise TypeError(
                f'SOTGLPHead got {type(feats).__name__} of shapes {shapes}; expected '
                f'ImageFeatures of patches (B, P, {width}) and images (B, {width}), as '
                'LocalProjectionNeck gives'
            )

    def _ask_for_check(self) -> None:
        """Once, where no hook has compared the class names with the dataset's."""
        if not self.class_names_checked:
            self.class_names_checked = True
            print_log(
                'SOTGLPHead: nothing has compared its class names with those of the dataset; '
                'where their order differs, every number is wrong. The dataset needs '
                'metainfo=dict(classes=...), and the config '
                "default_hooks = dict(class_names=dict(type='ClassNamesCheckHook'))",
                logger='current',
                level=logging.WARNING,
            )

    def forward(self, feats: ImageFeatures) -> Tensor:
        """Logits ``s * (Sg + Sl) / 2`` of the prediction, (B, C)."""
        return self._logits(*self.scores(feats))

    def predict(
        self, feats: ImageFeatures, data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Predictions of both branches and of their mean, and OOD scores.

        Args:
            feats: ``patches`` (B, P, D) and ``image`` (B, D), unit length.
            data_samples: Filled and returned; new ones by default. Where one has
                ``competing_labels`` (metainfo), the other classes get probability 0; OOD scores
                are of all classes nevertheless.

        Returns:
            list[DataSample]: With ``pred_score`` (C,), ``pred_label``, ``pred_score_global`` (C,)
            and, unless N = 0, ``pred_score_local`` (C,); for each of ``ood_methods``
            ``ood_<method>`` (), or (T,) of several temperatures, and then ``ood_tau`` as metainfo.
        """
        if data_samples and data_samples[0] is not None and 'gt_label' in data_samples[0]:
            self._ask_for_check()
        global_scores, local_scores = self.scores(feats)
        competing = competing_classes(data_samples, self.num_classes)
        logits = leave_out_others(self._logits(global_scores, local_scores), competing)
        predictions = self._get_predictions(logits, data_samples)
        fields = self.ood_scores(feats, global_scores)
        branches = {PRED_SCORE_GLOBAL: global_scores, PRED_SCORE_LOCAL: local_scores}
        for field, scores in branches.items():
            if scores is not None:
                logits = leave_out_others(self._logits(scores), competing)
                fields[field] = logits.softmax(dim=-1)
        for field, values in fields.items():
            for sample, value in zip(predictions, values):
                sample.set_field(value, field)
        if self.ood_methods:
            for sample in predictions:
                sample.set_field(self.ood_tau, OOD_TAU, field_type='metainfo')
        if self.report_allocation:
            self._report_allocation(feats, predictions)
        return predictions

    def _report_allocation(self, feats: ImageFeatures, samples: list[DataSample]) -> None:
        """How the class of each image, the predicted one where it has no label, is divided."""
        known = [s.gt_label if len(s.get('gt_label', ())) else s.pred_label for s in samples]
        labels = torch.cat(known).to(feats.image.device)
        found = self.allocation(feats, labels)  # refuses a head without local prompts
        cosines = mean_cosine(self.local_text()[labels])
        set_allocation(samples, found, cosines, feats.patches.shape[1])

    @torch.no_grad()
    def ood_scores(self, feats: ImageFeatures, global_scores: Tensor) -> dict[str, Tensor]:
        """By DataSample field of ``ood_methods`` (B,), or (B, T) of several temperatures."""
        text = self.local_text() if needs_local(self.ood_methods) else None
        with _no_autocast(global_scores):
            return ood_scores(self.ood_methods, self.ood_tau, global_scores, feats.patches, text)

    @torch.no_grad()
    def scores(self, feats: ImageFeatures) -> tuple[Tensor, Tensor | None]:
        """Sg (B, C), all global prompts averaged, and Sl (B, C) or None if N = 0."""
        self._check_features(feats)
        text = self.global_text()
        with _no_autocast(text):
            global_scores = self.global_similarity(feats.image, text).mean(dim=-1)
        if self.local_prompts is None:
            return global_scores, None
        text = self.local_text()
        with _no_autocast(text):
            return global_scores, self.local_scores(feats.patches, text)

    @torch.no_grad()
    def allocation(self, feats: ImageFeatures, labels: Tensor) -> Allocation:
        """How one class for each image divides its patches, e.g. for a picture.

        Args:
            feats: As in :meth:`predict`.
            labels: int64 (B,), the class asked for; the others cost nothing.
        """
        text = self.local_text()[labels]
        found = []
        with _no_autocast(text):
            for patches, prompts in zip(feats.patches[:, None], text[:, None]):  # one of each
                support = self.selector(patches, prompts)
                similarity = self.local_similarity(patches, prompts, support)
                plan = self.local_loss.plan(similarity).plan
                found.append((support[0, 0], plan[0, 0], similarity[0, 0]))
        return Allocation(*map(torch.stack, zip(*found)))

    @staticmethod
    def global_similarity(image: Tensor, text: Tensor) -> Tensor:
        """Cosines (B, C, G) of images (B, D) and global text features (C, G, D)."""
        return torch.einsum('bd,cgd->bcg', image, text)

    def local_similarity(self, patches: Tensor, text: Tensor, support: Tensor) -> Tensor:
        """Cosines (B, C, K, N) of selected patches and the local prompts of their class."""
        return selected_similarity(patches, text, support)

    def local_scores(self, patches: Tensor, text: Tensor) -> Tensor:
        """Sl (B, C) of patches (B, P, D) and local text features (C, N, D)."""
        support = self.selector(patches, text)
        return self.local_loss.scores(self.local_similarity(patches, text, support))

    def _train_global_scores(self, image: Tensor, text: Tensor) -> Tensor:
        similarity = self.global_similarity(image, text)
        kept = self._draw_global_prompts(len(image))
        kept = kept[:, None].expand(-1, self.num_classes, -1)
        return similarity.gather(-1, kept).mean(dim=-1)

    def _draw_global_prompts(self, batch_size: int) -> Tensor:
        """Prompt dropout: int64 (B, kept), for each image, shared by all classes."""
        num_global, world = len(self.global_prompts), get_world_size()
        # the generators of all processes are alike: each draws for the whole batch, and takes
        # every R-th row, as samplers deal out the images
        size = (batch_size * world, self.num_kept)
        drawn = torch.randint(num_global, size, device=self.global_prompts.device)
        return drawn[get_rank() :: world]

    def global_text(self) -> Tensor:
        """Unit text features (C, G, D) of the global prompts."""
        return self._text_features(self.global_prompts, self._text_caches[0])

    def local_text(self) -> Tensor:
        """Unit text features (C, N, D) of the local prompts."""
        if self.local_prompts is None:
            raise ValueError('SOTGLPHead has no local prompts (num_local_prompts=0): no plan')
        return self._text_features(self.local_prompts, self._text_caches[1])

    def _text_features(self, prompts: Tensor, cache: TextFeatureCache) -> Tensor:
        """Encoded anew in every step that learns these prompts, else once."""
        if torch.is_grad_enabled() and prompts.requires_grad:
            return self._encode(prompts)
        return cache.get(self._encode, prompts)

    def _encode(self, context: Tensor) -> Tensor:
        """Unit text features (C, n, D), in float32 also where the tower ran under autocast."""
        return F.normalize(self.text_encoder(context).float(), dim=-1)

    def _logits(self, *scores: Tensor | None) -> Tensor:
        present = [score for score in scores if score is not None]
        return self.towers.logit_scale * torch.stack(present).mean(dim=0)

    def train(self, mode: bool = True) -> 'SOTGLPHead':
        for cache in self._text_caches:
            cache.clear()
        return super().train(mode)

    def identity(self) -> dict:
        return dict(
            super().identity(),
            class_names=list(self.class_names),
            keep_underscores=self.text_encoder.keep_underscores,
        )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        trained = read_identity(state_dict, prefix)
        names = None
        difference = note = None
        if trained is None:
            note = 'The checkpoint does not say with which CLIP and classes it was trained'
        else:
            names, sides = trained['class_names'], ('the checkpoint', 'this SOTGLPHead')
            self._check_underscores(trained.get('keep_underscores'), names)
            difference = class_difference(names, self.class_names, *sides)
        key, prompts = f'{prefix}local_prompts', self.local_prompts
        if prompts is not None and prompts.ndim == 3:
            prompts = None  # shared by all classes
        if difference is not None and prompts is None:
            note = (
                f'The checkpoint was trained with other classes: {difference}. Its prompts are '
                'shared by all classes, and serve these as well'
            )
        if note:
            print_log(note, logger='current')
        relabelled = difference or (self.load_shared and names is None)
        if prompts is not None and key in state_dict and relabelled:
            initial = prompts.detach()
            if self.load_shared == 'text':
                initial = self.towers.text.embed_words(self.context).expand_as(initial)
            state_dict[key] = match_classes(
                state_dict[key], names, initial, self.class_names, bool(self.load_shared)
            )
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _check_underscores(self, kept: bool | None, names: Sequence[str]) -> None:
        """Other prompts are other weights; a checkpoint of an older version does not say."""
        ours = self.text_encoder.keep_underscores
        if kept not in (None, ours) and any('_' in name for name in (*names, *self.class_names)):
            raise CheckpointMismatch(
                f'The checkpoint was trained with keep_underscores={kept}, and this SOTGLPHead '
                f'has {ours}: class names with underscores are other words to CLIP. Set '
                f'model.head.keep_underscores={kept}'
            )


def _no_autocast(tensor: Tensor) -> torch.autocast:
    """Scores are cheap, multiplied by s = 100 and exponentiated: they stay in float32."""
    return torch.autocast(tensor.device.type, enabled=False)


def _check_ood(
    methods: Sequence[str], tau: float | Sequence[float], num_local_prompts: int
) -> None:
    known = tuple(OOD_SCORES)
    if isinstance(methods, str) or not set(methods) <= set(known):
        raise ValueError(
            f'SOTGLPHead: ood_methods={methods!r} is not a list out of {known}; correct it'
        )
    local = [method for method in methods if OOD_SCORES[method].needs_local]
    if local and not num_local_prompts:
        raise ValueError(
            f'SOTGLPHead: ood_methods has {local[0]!r}, which scores patches with local prompts, '
            "but num_local_prompts=0; take 'mcm' alone, or local prompts"
        )
    taus = tau if isinstance(tau, Sequence) else [tau]
    if not taus or not all(each > 0 for each in taus):
        raise ValueError(f'SOTGLPHead: ood_tau must be > 0, got {tau}')
