"""Draw how a trained model divides the patches of images among its prompts."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmpretrain.datasets import PackInputs
from mmpretrain.registry import DATASETS
from PIL import Image

from ..io.names import some_of
from ..utils.tables import printable
from ..visualization import PlanPicture, classifier_problem, draw_plan, pictures_of_batch
from .config import load_config
from .inference import (
    Failure,
    failure_lines,
    find_images,
    image_pipeline,
    load_inferencer,
    read_images,
)


def show(
    config: str | Path,
    checkpoint: str | Path | None,
    paths: Sequence[str] = (),
    *,
    out_dir: str | Path = 'plan_pictures',
    classes: Sequence[str] | None = None,
    dataset: str | None = None,
    indices: Sequence[int] = (0,),
    data: str | Path | None = None,
    cfg_options: dict | None = None,
) -> list[Failure]:
    """Write a picture for each image, as ``sotglp show`` does with flags of these names.

    Returns:
        list: Images that could not be read.
    """
    if bool(paths) == bool(dataset):
        raise ValueError('name images, or say --dataset test --indices 0 5 9')
    files, failures = find_images(paths) if paths else ({}, [])
    cfg = load_config(config, cfg_options, checkpoint=checkpoint, data=data)
    inferencer = load_inferencer(cfg, checkpoint)
    drawn = _labels(classes, getattr(inferencer.model.head, 'class_names', ()))
    items = (
        _items_of_dataset(cfg, dataset, indices)
        if dataset
        else _items_of_files(inferencer.config, files, failures)
    )
    for name, item in items:
        file = Path(out_dir) / f'{name}.png'
        problem = classifier_problem(inferencer.model, item['inputs'])
        if problem is not None:
            raise ValueError(f'no plan can be drawn: {problem}')
        predictions = inferencer.forward(item)
        (picture,) = pictures_of_batch(inferencer.model, item['inputs'], predictions, drawn)
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_plan(picture)).save(file)
        percent = 100 * picture.scores['combined'][picture.predicted]
        label = picture.class_names[picture.predicted]
        print(f'{printable(str(file))}: predicted {label}, {percent:.0f} %{_verdict(picture)}')
    if failures:
        print(f'\n{failure_lines(failures)}', file=sys.stderr)
    return failures


def _items_of_files(
    cfg: Config, files: dict[str, str], failures: list[Failure]
) -> Iterator[tuple[str, dict]]:
    """Names of pictures, each of them once, and batches of one image."""
    names: dict[str, str] = {}
    for path, short in files.items():
        name = '_'.join(Path(short).with_suffix('').parts)
        while name in names.values():  # folders of classes have files of equal names
            name += '_'
        names[path] = name
    for batch in read_images(cfg, list(files)):
        failures += batch.failures
        if batch.data is not None:
            yield names[batch.paths[0]], batch.data


def _items_of_dataset(
    cfg: Config, which: str, indices: Sequence[int]
) -> Iterator[tuple[str, dict]]:
    """The same of images of a dataset of the config, without augmentation."""
    pipeline = image_pipeline(cfg)
    for transform in pipeline:
        if transform['type'] == 'PackInputs':
            kept = transform.get('meta_keys', PackInputs.DEFAULT_META_KEYS)
            transform['meta_keys'] = (*kept, 'parts')  # the demo's scenes know their parts
    settings = cfg[f'{which}_dataloader'].dataset
    set_pipeline(settings, pipeline)
    dataset = DATASETS.build(settings)
    for index in indices:
        if index >= len(dataset):
            raise ValueError(
                f'--indices: there is no image {index} in the {which} set; it has {len(dataset)}, '
                'counted from 0'
            )
        yield f'{which}_{index:05d}', pseudo_collate([dataset[index]])


def set_pipeline(node: Any, pipeline: list[dict]) -> None:
    """Replace every pipeline in a dataset's settings, also of sets within sets."""
    for key, child in node.items() if isinstance(node, dict) else ():
        if key == 'pipeline':
            node[key] = pipeline
        else:
            set_pipeline(child, pipeline)


def _labels(names: Sequence[str] | None, known: Sequence[str]) -> str | list[int]:
    """Labels of class names; without any, predicted and true."""
    if names is None:
        return 'both'
    spelled, asked = ([each.replace('_', ' ').lower() for each in x] for x in (known, names))
    for name, each in zip(names, asked):
        if each not in spelled:
            raise ValueError(
                f'--class: the model has no class {name!r}; it has {len(known)}: '
                f'{some_of(known, 8)}'
            )
    return list(map(spelled.index, asked))


def _verdict(picture: PlanPicture) -> str:
    if picture.true_label is None:
        return ''
    if picture.true_label == picture.predicted:
        return ' (right)'
    return f' (wrong: it is {picture.class_names[picture.true_label]})'
