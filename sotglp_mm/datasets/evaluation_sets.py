"""Several sets in one evaluation pass."""

from collections.abc import Sequence

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample

from ..class_names.resolve import class_difference
from ..structures import COMPETING_LABELS, SET_NAME, SET_NAMES
from ..utils.settings import checked_settings
from .data_identity import class_names_of
from .few_shot_dataset import labels_of


@DATASETS.register_module()
@checked_settings
class EvaluationSets:
    """Sets one after the other in one dataloader; metrics tell them apart by ``set_name``.

    Items are those of the sets. Their ``data_samples`` also have, as metainfo, ``set_name`` and,
    where the set's dataset has it in its metainfo, ``competing_labels``: only these classes
    compete. An image without a label gets an empty one, ``gt_label`` of shape (0,), because
    MMPretrain's preprocessor joins the labels of a batch, and a batch may hold both kinds.

    Args:
        sets (dict[str, dict | BaseDataset]): Datasets, or their configs, by name, the first one
            (in-distribution, where that matters) first. Their pipelines end with ``PackInputs``.
        pipeline (Sequence[dict], optional): Transforms of the sets whose config has no pipeline
            of its own. It stands where MMPretrain's inferencer, and test-time augmentation, look
            for a config's test pipeline. Defaults to None.
        classes (dict[str, str], optional): By the name of a set 'base' or 'new': only the images
            of this half of its classes are there, and only these classes compete. Labels and class
            names stay those of all. Defaults to None.
    """

    def __init__(
        self,
        sets: dict[str, dict | BaseDataset],
        pipeline: Sequence[dict] | None = None,
        classes: dict[str, str] | None = None,
    ):
        _check_names(sets)
        self.halves = dict(classes or {})
        unknown = [name for name in self.halves if name not in sets]
        if unknown:
            raise ValueError(
                f'EvaluationSets: classes has {unknown[0]!r}, which is no set; there are '
                f'{", ".join(sets)}'
            )
        shared = {} if pipeline is None else dict(pipeline=pipeline)
        self.sets = {
            name: DATASETS.build({**shared, **each}) if isinstance(each, dict) else each
            for name, each in sets.items()
        }
        self.full_init()

    @property
    def datasets(self) -> list:
        """The sets, by MMEngine's name for what a dataset joins."""
        return list(self.sets.values())

    @property
    def metainfo(self) -> dict:
        """Of the first set, with ``classes`` of the first set that has any, and ``set_names``."""
        found = dict(next(iter(self.sets.values())).metainfo)
        if self.CLASSES is not None:
            found['classes'] = self.CLASSES
        return {**found, SET_NAMES: tuple(self.sets)}

    @property
    def CLASSES(self) -> tuple[str, ...] | None:  # MMPretrain's name
        return next((tuple(classes) for _, classes in self._labelled()), None)

    def full_init(self) -> None:
        for each in self.sets.values():
            each.full_init()
        self._check_classes()
        # once, not for every image: MMEngine copies all metainfo when it is asked for any
        metainfo = {name: each.metainfo for name, each in self.sets.items()}
        self._competing = {
            name: tuple(map(int, each[COMPETING_LABELS]))
            for name, each in metainfo.items()
            if each.get(COMPETING_LABELS) is not None
        }
        self._places = [place for name in self.sets for place in self._places_of(name)]

    def _places_of(self, name: str) -> list[tuple[str, int]]:
        """Set and number of its images; those of a half, and their competing labels."""
        dataset = self.sets[name]
        if name not in self.halves:
            return [(name, index) for index in range(len(dataset))]
        half = labels_of(self.halves[name], len(class_names_of(dataset)))
        self._competing[name] = tuple(x for x in self._competing.get(name, half) if x in half)
        labels = dataset.get_gt_labels()
        return [(name, index) for index, label in enumerate(labels) if label in half]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> dict:
        name, number = self._places[index]
        item = self.sets[name][number]
        found = item.get('data_samples') if isinstance(item, dict) else None
        # a list: views of TestTimeAug
        samples: list = found if isinstance(found, list) else [found]
        if not all(isinstance(sample, DataSample) for sample in samples):
            raise ValueError(
                f"EvaluationSets: an item of set {name!r} has no 'data_samples' to write its name "
                "in; let the set's pipeline end with dict(type='PackInputs')"
            )
        for sample in samples:
            sample.set_field(name, SET_NAME, field_type='metainfo')
            if name in self._competing:
                sample.set_field(self._competing[name], COMPETING_LABELS, field_type='metainfo')
            if 'gt_label' not in sample:
                sample.set_gt_label([])
        return item

    def get_data_info(self, index: int) -> dict:
        name, number = self._places[index]
        return self.sets[name].get_data_info(number)

    def get_cat_ids(self, index: int) -> list[int]:
        name, number = self._places[index]
        if 'gt_label' not in self.sets[name].get_data_info(number):
            return []
        return self.sets[name].get_cat_ids(number)

    def _labelled(self) -> list[tuple[str, tuple[str, ...]]]:
        found = ((name, each.metainfo.get('classes')) for name, each in self.sets.items())
        return [(name, classes) for name, classes in found if classes is not None]

    def _check_classes(self) -> None:
        (first, expected), *others = self._labelled() or [('', ())]
        for name, classes in others:
            sides = f'set {first!r}', f'set {name!r}'
            if difference := class_difference(expected, classes, *sides):
                raise ValueError(
                    f'EvaluationSets: set {name!r} has other classes: {difference}. One head '
                    'scores all sets: give them the same classes, in the same order (and say by '
                    "metainfo['competing_labels'] which of them occur)."
                )


def _check_names(sets: dict) -> None:
    if not sets:
        raise ValueError('EvaluationSets: sets is empty; give dict(name=dataset, ...)')
    for name in sets:
        if not isinstance(name, str) or not name or '/' in name or name == 'mean':
            raise ValueError(
                f'EvaluationSets: a set cannot be called {name!r}; its name becomes part of '
                "results such as 'accuracy/<set>/top1', beside 'accuracy/mean/top1'"
            )
