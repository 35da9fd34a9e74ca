"""How well scores tell known from unknown images."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from ..functional import OOD_FIELDS
from ..structures import OOD_TAU, SET_NAME, SET_NAMES
from ..utils.settings import check_choice, checked_settings

TPR = 0.95
RECALLS = ('at_least', 'nearest')


@METRICS.register_module()
@checked_settings
class OODMetric(BaseMetric):
    """AUROC, FPR95 and AUPR of the OOD scores, in percent, and their means over the OOD sets.

    Behind :class:`EvaluationSets` and a head with ``ood_methods``. Logged as
    ``ood/<method>_T<temperature>/<set>/auroc`` (``fpr95``, ``aupr``) and
    ``ood/<method>_T<temperature>/mean/auroc``. See :func:`detection_metrics`.

    Args:
        id_set (str, optional): The in-distribution set. Defaults to the first set.
        ood_sets (Sequence[str], optional): Defaults to all others.
        methods (Sequence[str], optional): Out of 'mcm', 'l_mcm', 'gl_mcm'. Defaults to those that
            the samples have.
        recall (str): FPR95 is that of a part of the in-distribution images which is ``'at_least'``
            95 %, or ``'nearest'`` to it, as in the released program. Defaults to 'at_least'.
        prefix (str): Defaults to 'ood'.
        **kwargs: As in MMEngine's ``BaseMetric``.
    """

    def __init__(
        self,
        id_set: str | None = None,
        ood_sets: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        recall: str = 'at_least',
        prefix: str = 'ood',
        **kwargs: Any,
    ) -> None:
        super().__init__(prefix=prefix, **kwargs)
        if isinstance(methods, str) or set(methods or ()) - set(OOD_FIELDS):
            raise ValueError(
                f'OODMetric: methods={methods!r} is not a list out of {tuple(OOD_FIELDS)}; '
                'correct it, or leave it out for all that the samples have'
            )
        check_choice('OODMetric', 'recall', recall, RECALLS)
        self.recall, self.methods = recall, methods
        self.id_set, self.ood_sets = id_set, ood_sets

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            present = [method for method, field in OOD_FIELDS.items() if field in sample]
            methods = self.methods or present
            lacking = [method for method in methods if method not in present]
            if lacking or not methods:
                of = f' of {lacking[0]!r}' if lacking else ''
                raise ValueError(
                    f'OODMetric: a sample has no OOD score{of}; set '
                    f'model.head.ood_methods={list(methods or OOD_FIELDS)} in the config'
                )
            if SET_NAME not in sample:
                raise ValueError(
                    'OODMetric: a sample does not tell its set; let the dataloader load '
                    "dict(type='EvaluationSets', sets=dict(<id>=..., <ood>=...))"
                )
            taus = np.ravel(sample[OOD_TAU])
            scores = {
                f'{method}_T{tau:g}': value
                for method in methods
                for tau, value in zip(taus, sample[OOD_FIELDS[method]].flatten().tolist())
            }
            self.results.append((sample[SET_NAME], scores))

    def compute_metrics(self, results: list) -> dict[str, float]:
        id_set, ood_sets = self._sets()
        used = [result for result in results if result[0] in (id_set, *ood_sets)]
        found: dict[str, float] = {}
        for method in _methods(used):
            by_set: dict[str, list[float]] = {name: [] for name in (id_set, *ood_sets)}
            for name, scores in used:
                by_set[name].append(scores[method])
            _check_scores(method, by_set)
            known = by_set.pop(id_set)
            of_sets = {n: detection_metrics(known, x, self.recall) for n, x in by_set.items()}
            for metric in ('auroc', 'fpr95', 'aupr'):
                values = {name: of_set[metric] for name, of_set in of_sets.items()}
                values['mean'] = float(np.mean(list(values.values())))
                found |= {f'{method}/{name}/{metric}': value for name, value in values.items()}
        return found

    def _sets(self) -> tuple[str, list[str]]:
        """Names of the in-distribution set and of the others."""
        names = list((self.dataset_meta or {}).get(SET_NAMES, ()))
        advice = (
            "The dataloader's dataset must be dict(type='EvaluationSets', sets=dict(...)) with an "
            'in-distribution set and at least one other'
        )
        if len(names) < 2:
            raise ValueError(f'OODMetric: got {len(names)} sets, {names}. {advice}.')
        id_set = self.id_set or names[0]
        others = [name for name in names if name != id_set]
        ood_sets = others if self.ood_sets is None else list(self.ood_sets)
        missing = [name for name in (id_set, *ood_sets) if name not in names]
        if missing or id_set in ood_sets or not ood_sets:
            raise ValueError(
                f'OODMetric: id_set={id_set!r} and ood_sets={ood_sets} do not fit the sets that '
                f'are loaded, {names}. {advice}.'
            )
        return id_set, ood_sets


def detection_metrics(
    known: Sequence[float], unknown: Sequence[float], recall: str = 'at_least'
) -> dict[str, float]:
    """How well scores separate in-distribution (positive) from other images, in percent.

    - ``auroc``: the chance that a known image scores lower than an unknown one; a tie counts half.
    - ``fpr95``: the part of the unknown images that is accepted where at least 95 % of the known
      ones are. An image is accepted if its score is at most the threshold, and thresholds are
      scores that occur, so images of equal score are accepted or refused together: with ties,
      or few images, more than 95 % of the known ones may be accepted, never fewer.
    - ``aupr``: average precision, known images being positive; depends on the sizes of the sets.

    Args:
        known: Scores of in-distribution images, lower is more in-distribution; at least one.
        unknown: Scores of the others; at least one.
        recall: ``'nearest'``: ``fpr95`` is of the threshold whose part of the known images lies
            nearest to 95 %; of two as near, the higher one.
    """
    # here: scikit-learn is a fifth of the package's import time, and most runs need none of it
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    positive = np.repeat([1, 0], [len(known), len(unknown)])
    certainty = -np.concatenate([known, unknown]).astype(np.float64)
    # all thresholds: scikit-learn else leaves out points between which a curve is straight
    fpr, tpr, _ = roc_curve(positive, certainty, drop_intermediate=False)
    values = dict(
        auroc=roc_auc_score(positive, certainty),
        fpr95=fpr[_threshold_at(tpr, recall)],
        aupr=average_precision_score(positive, certainty),
    )
    return {metric: 100 * float(value) for metric, value in values.items()}


def _threshold_at(tpr: np.ndarray, recall: str) -> int:
    """Which of the thresholds of ``roc_curve``, strictest first."""
    if recall == 'at_least':
        return int(np.argmax(tpr >= TPR))
    distance = abs(tpr[: np.argmax(tpr) + 1] - TPR)
    return len(distance) - 1 - int(np.argmin(distance[::-1]))


def _methods(results: list[tuple[str, dict]]) -> list[str]:
    """Those of all images; the images must agree."""
    methods = list(results[0][1]) if results else ['scores']
    for _, scores in results:
        if list(scores) != methods:
            raise ValueError(
                f'OODMetric: images differ in their OOD scores: one has {methods}, another '
                f'{list(scores)}; one head, with one temperature, must score all sets'
            )
    return methods


def _check_scores(method: str, by_set: dict[str, list[float]]) -> None:
    for name, scores in by_set.items():
        if not scores:
            raise ValueError(
                f'OODMetric: set {name!r} has no images, so nothing can be told apart; set '
                "another id_set or ood_sets, or correct the set's dataset"
            )
    every = np.concatenate(list(by_set.values()))
    wrong = int((~np.isfinite(every)).sum())
    if wrong:
        raise ValueError(
            f'OODMetric: {wrong} of {len(every)} scores of {method!r} are NaN or infinite; look '
            'at the weights (a diverged run?), and at the precision of the towers'
        )
