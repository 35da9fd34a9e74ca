"""Accuracy of the prediction or of one of its branches, of one set or of several."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmpretrain.registry import METRICS

from ..structures import BRANCHES, SET_NAME, SET_NAMES
from ..utils.settings import check_choice, checked_settings

_MEAN_CLASS = 'mean_class'
_PER_CLASS = 'per_class'


@METRICS.register_module()
@checked_settings
class BranchAccuracy(BaseMetric):
    """Top-k and mean class accuracy, in percent, of both branches together or of one alone.

    Logged as ``accuracy/top1``, ``accuracy_global/top1``, ``accuracy_local/top1``; of
    :class:`EvaluationSets` as ``accuracy/<set>/top1`` for each set with labels, and, where there
    are several, ``accuracy/mean/top1``, the plain mean over these sets. Images without a label
    do not count. Where a head has no such branch there is nothing to log.

    Args:
        branch (str): 'combined', 'global' or 'local'.
        items (Sequence[str]): 'top<k>', e.g. 'top1' and 'top5', and 'mean_class': the mean, over
            the classes that occur among the labels, of the part of a class's images that is
            right at first place; 'per_class': that part for each of these classes, logged as
            ``per_class/<class name>``. Defaults to ('top1',).
        topk (int | Sequence[int], optional): The top-k items, as MMPretrain's ``Accuracy`` takes
            them; replaces those of ``items``. Defaults to None.
        prefix (str, optional): Defaults to 'accuracy' for 'combined', else
            'accuracy_<branch>'.
        **kwargs: As in MMEngine's ``BaseMetric``.
    """

    def __init__(
        self,
        branch: str,
        items: Sequence[str] = ('top1',),
        topk: int | Sequence[int] | None = None,
        prefix: str | None = None,
        **kwargs: Any,
    ) -> None:
        check_choice('BranchAccuracy', 'branch', branch, BRANCHES)
        default = 'accuracy' if branch == 'combined' else f'accuracy_{branch}'
        super().__init__(prefix=prefix or default, **kwargs)
        self.field = BRANCHES[branch]
        self.items = _checked_items(items, topk)
        self.num_places = max(map(_places, self.items))

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            label = sample.get('gt_label')
            if self.field not in sample or label is None or not len(label):
                # every image needs its place: what all processes gathered is cut to the number
                # of images, and MMEngine drops None when it gathers
                self.results.append(())
                continue
            score = sample[self.field].cpu()
            if self.num_places > len(score):
                raise ValueError(
                    f"BranchAccuracy: 'top{self.num_places}' of {len(score)} classes cannot be "
                    'told; ask for fewer places in items'
                )
            # a few labels instead of all scores: 10 000s of images times 1000 classes add up
            # of equal scores the first class comes first, as in pred_label; topk takes any
            ranked = score.argsort(descending=True, stable=True)
            first = ranked[: self.num_places].tolist()
            self.results.append((sample.get(SET_NAME), int(label[0]), first))

    def compute_metrics(self, results: list) -> dict[str, float]:
        results = [result for result in results if result]
        set_names = (self.dataset_meta or {}).get(SET_NAMES)
        if set_names is None:
            return self._values(results)
        of_sets = {
            name: values
            for name in set_names
            if (values := self._values([result for result in results if result[0] == name]))
        }
        if len(of_sets) > 1:
            of_sets['mean'] = {
                item: float(np.mean([values[item] for values in of_sets.values()]))
                for item in self.items
                if item != _PER_CLASS
            }
        return {f'{n}/{item}': v for n, values in of_sets.items() for item, v in values.items()}

    def _values(self, results: list[tuple]) -> dict[str, float]:
        """Percent for each item; nothing of no images."""
        if not results:
            return {}
        labels = np.array([label for _, label, _ in results])
        hits = np.array([first for *_, first in results]) == labels[:, None]
        of_classes = {label: hits[labels == label, 0].mean() for label in sorted(set(labels))}
        names = (self.dataset_meta or {}).get('classes')
        values = {}
        for item in self.items:
            if item == _MEAN_CLASS:
                values[item] = np.mean(list(of_classes.values()))
            elif item == _PER_CLASS:
                for label, value in of_classes.items():
                    values[f'{item}/{names[label] if names else label}'] = value
            else:
                values[item] = hits[:, : _places(item)].any(axis=1).mean()
        return {item: 100 * float(value) for item, value in values.items()}


def _checked_items(items: Sequence[str], topk: int | Sequence[int] | None) -> tuple[str, ...]:
    items = (items,) if isinstance(items, str) else tuple(items)
    if topk is not None:
        topk = (topk,) if isinstance(topk, int) else topk
        others = [item for item in items if item in (_MEAN_CLASS, _PER_CLASS)]
        items = (*(f'top{k}' for k in topk), *others)
    known = re.compile(rf'top[1-9]\d*|{_MEAN_CLASS}|{_PER_CLASS}')
    unknown = [item for item in items if not known.fullmatch(str(item))]
    if unknown or not items:
        found = repr(unknown[0]) if unknown else 'nothing'
        raise ValueError(
            f"BranchAccuracy: items has {found}; choose 'top1', 'top5' (or another number), "
            f'{_MEAN_CLASS!r} and {_PER_CLASS!r}'
        )
    return items


def _places(item: str) -> int:
    """How many of the first predictions an item looks at."""
    return 1 if item in (_MEAN_CLASS, _PER_CLASS) else int(item.removeprefix('top'))
