"""Draw how a trained model divides the patches of images among its prompts.

Images are files, folders or globs; or images of a dataset of the config, with their true labels::

    python tools/visualize_plan.py CONFIG CHECKPOINT photo.jpg photos/ 'more/*.png'
    python tools/visualize_plan.py CONFIG CHECKPOINT --dataset test --indices 0 5 9

What cannot be read is named at the end, and the rest is drawn (exit status 1).
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import load_checkpoint
from mmengine.visualization import Visualizer
from mmpretrain.datasets import PackInputs
from mmpretrain.registry import DATASETS, MODELS, VISUALIZERS

from ..apis import load_config
from ..io.checkpoint_file import check_weights, naming_checkpoint
from ..visualization import PlanPicture, classifier_problem, draw_plan, pictures_of_batch
from .predict_files import Failure, ImagesToPredict, NoImagesError, find_images, images_of_name
from .predict_report import failure_lines


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Draw transport plans of images')
    parser.add_argument('config', help='path of the config')
    parser.add_argument('checkpoint', help='path of the checkpoint')
    parser.add_argument('images', nargs='*', help='image files, folders of them, or globs')
    parser.add_argument('--out-dir', default='plan_pictures', help='folder of the pictures')
    parser.add_argument(
        '--class',
        dest='classes',
        nargs='+',
        metavar='NAME',
        help='classes whose plans are drawn; by default the predicted one and, where it is known '
        'to be another, the true one',
    )
    parser.add_argument(
        '--dataset', choices=['train', 'val', 'test'], help="draw images of the config's dataset"
    )
    parser.add_argument(
        '--indices', type=int, nargs='+', default=[0], help='which of them; by default 0'
    )
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        metavar='KEY=VALUE',
        help='override settings of the config, as in test.py',
    )
    args = parser.parse_intermixed_args(arguments)  # images may follow flags
    if bool(args.images) == bool(args.dataset):
        parser.error('name images, or say --dataset test --indices 0 5 9')
    return args


def check_images(cfg: Config) -> None:
    """Refuse a config that never sees a pixel."""
    if cfg.test_dataloader.dataset.type == 'CachedFeatureDataset':
        raise ValueError(
            'this config reads cached features, and a picture needs images; use the config that '
            'the cache was made from, it loads the same checkpoint'
        )


def load_model(cfg: Config, checkpoint: str) -> torch.nn.Module:
    """The trained model, in eval mode, on the GPU if there is one."""
    model = MODELS.build(cfg.model)
    check_weights(checkpoint)
    with naming_checkpoint(checkpoint):
        load_checkpoint(model, checkpoint, map_location='cpu', logger='silent')
    return model.to(get_device()).eval()


def items_of_files(cfg: Config, files: dict[str, Path]) -> Iterator[tuple[str, dict | Failure]]:
    """Names and items of image files, through the test pipeline, so that patches lie as there."""
    transforms = _find_pipeline(cfg.test_dataloader.dataset)
    if transforms is None:
        raise ValueError(
            'test_dataloader.dataset of the config has no pipeline, so it is not known what the '
            'model is to see; use the config that the checkpoint was trained with'
        )
    if not any('Load' in transform['type'] for transform in transforms):
        transforms = [dict(type='LoadImageStrict'), *transforms]  # a set that draws its images
    images = ImagesToPredict([str(file) for file in files.values()], transforms)
    for index, name in enumerate(files):
        yield name, images[index][1]


def items_of_dataset(cfg: Config, which: str, indices: list[int]) -> Iterator[tuple[str, dict]]:
    """Names and items of a dataset of the config, through the test pipeline."""
    settings = cfg[f'{which}_dataloader'].dataset
    pipeline = _find_pipeline(cfg.test_dataloader.dataset)
    for transform in pipeline or ():
        if transform['type'] == 'PackInputs':
            kept = transform.get('meta_keys', PackInputs.DEFAULT_META_KEYS)
            transform['meta_keys'] = (*kept, 'parts')  # the demo's scenes know their parts
    if which == 'train' and pipeline is not None:
        _set_pipeline(settings, pipeline)  # without the augmentations
    dataset = DATASETS.build(settings)
    for index in indices:
        if not 0 <= index < len(dataset):
            raise ValueError(
                f'--indices: there is no image {index} in the {which} set; it has {len(dataset)}, '
                'counted from 0'
            )
        yield f'{which}_{index:05d}', dataset[index]


def class_labels(names: list[str] | None, known: list[str]) -> str | list[int]:
    """Labels of class names; without any, predicted and true."""
    if names is None:
        return 'both'
    plain = [name.replace('_', ' ').lower() for name in known]
    labels = []
    for name in names:
        if name.replace('_', ' ').lower() not in plain:
            shown = ', '.join(map(str, known[:8])) + (', ...' if len(known) > 8 else '')
            raise ValueError(
                f'--class: the model has no class {name!r}; it has {len(known)}: {shown}'
            )
        labels.append(plain.index(name.replace('_', ' ').lower()))
    return labels


def _find_pipeline(node) -> list | None:
    """The first pipeline in a dataset's settings."""
    if not isinstance(node, dict):
        return None
    if node.get('pipeline'):
        return node['pipeline']
    return next(filter(None, map(_find_pipeline, node.values())), None)


def _set_pipeline(node, pipeline: list) -> None:
    for key, child in node.items() if isinstance(node, dict) else ():
        if key == 'pipeline':
            node[key] = pipeline
        else:
            _set_pipeline(child, pipeline)


def named_files(names: list[str]) -> tuple[dict[str, Path], list[Failure]]:
    """Every image once, under a name that no other has: folders have classes with equal files."""
    _, failures = find_images(names)  # refuses names that stand for no image at all
    named: dict[str, Path] = {}
    for given in names:
        if given in [failure.path for failure in failures]:
            continue
        folder = Path(given).expanduser()
        for file in images_of_name(given):
            if any(_are_the_same(file, other) for other in named.values()):
                continue
            below = file.relative_to(folder) if folder.is_dir() else Path(file.name)
            name = '_'.join(below.with_suffix('').parts)
            while name in named:
                name += '_'
            named[name] = file
    return named, failures


def _are_the_same(one: Path, other: Path) -> bool:
    return one == other or (one.exists() and other.exists() and one.samefile(other))


def draw(args: argparse.Namespace) -> list[Failure]:
    """Write one picture for each image, and say what was predicted; what could not be read."""
    cfg = load_config(args.config, args.cfg_options, checkpoint=args.checkpoint)
    check_images(cfg)
    init_default_scope(cfg.get('default_scope', 'mmpretrain'))
    model = load_model(cfg, args.checkpoint)
    classes = class_labels(args.classes, getattr(model.head, 'class_names', []))
    visualizer = _visualizer(args.out_dir)
    failures: list[Failure] = []
    if args.dataset:
        items = items_of_dataset(cfg, args.dataset, args.indices)
    else:
        files, failures = named_files(args.images)
        items = items_of_files(cfg, files)
    for name, item in items:
        if isinstance(item, Failure):
            failures.append(item)
            continue
        picture = picture_of_item(model, item, classes)
        visualizer.add_image(name, draw_plan(picture))
        percent = 100 * picture.scores['combined'][picture.predicted]
        said = f'{picture.class_names[picture.predicted]}, {percent:.0f} %'
        print(f'{Path(args.out_dir) / name}_0.png: predicted {said}{_verdict(picture)}')
    return failures


def picture_of_item(model: torch.nn.Module, item: dict, classes: str | list[int]) -> PlanPicture:
    """Predict, and collect what is drawn."""
    inputs, sample = [item['inputs']], [item['data_samples']]
    problem = classifier_problem(model, inputs)
    if problem is not None:
        raise ValueError(f'No plan can be drawn: {problem}')
    with torch.no_grad():
        predictions = model.test_step(dict(inputs=inputs, data_samples=sample))
    return pictures_of_batch(model, inputs, predictions, classes)[0]


def _visualizer(folder: str) -> Visualizer:
    backend = dict(type='LocalVisBackend', save_dir=folder, img_save_dir='')
    name = f'plans_{folder}'  # MMEngine gives visualizers of one name out only once
    return VISUALIZERS.build(dict(type='UniversalVisualizer', name=name, vis_backends=[backend]))


def _verdict(picture: PlanPicture) -> str:
    if picture.true_label is None:
        return ''
    if picture.true_label == picture.predicted:
        return ' (right)'
    return f' (wrong: it is {picture.class_names[picture.true_label]})'


def main() -> None:
    """Draw, or say in one line what is in the way."""
    args = parse_args()
    try:
        failures = draw(args)
    except (ImportError, NoImagesError, OSError, ValueError) as error:
        sys.exit(f'visualize_plan: {error}')
    if failures:
        sys.exit(f'\n{failure_lines(failures)}')


if __name__ == '__main__':
    main()
