"""Measure a tiny CLIP of photographs: zero-shot, linear probes, pointing, and drawn scenes.

    python tools/studies/photo_clip_report.py FOLDER --photos tiny-imagenet-200 --data data

prints the figures as JSON. tools/studies/pretrain_photos.py writes them beside the weights.
"""

import argparse
import json
from collections import defaultdict
from pathlib import Path

import demo_clip_report
import numpy as np
import torch
import torch.nn.functional as F
from demo_clip_report import (
    best_patches,
    centres_inside,
    normalise,
    ordinary_patches,
    stack,
    text_features,
)
from mmengine.dataset import BaseDataset
from mmpretrain.registry import DATASETS, MODELS
from photo_folder import SIZE, class_ids, read_names, read_val
from torch import Tensor

from sotglp_mm.datasets.known_sets import KNOWN_SETS
from sotglp_mm.features.baselines import Labelled
from sotglp_mm.features.baselines import linear_probe as fit_probe
from sotglp_mm.models.open_clip_vit import OpenCLIPViT

STEM = 'sotglp_photos'
PROBED = ('eurosat', 'caltech101')
SHOTS, VAL_SHOTS, SEEDS = 16, 4, (1, 2, 3)
BATCH = 500
TEST_PIPELINE = [
    dict(type='LoadImageStrict'),
    dict(type='ResizeEdge', scale=SIZE, edge='short', backend='pillow', interpolation='bicubic'),
    dict(type='CenterCrop', crop_size=SIZE),
]


def measure(
    folder: Path, photos: Path, data: Path | None, cache: Path, scenes: int = 1000
) -> dict[str, dict[str, float]]:
    """All figures, fractions of one, of the files in `folder`.

    Args:
        folder: Of the config, the merges and the weights.
        photos: Of the photographs, in Tiny-ImageNet's layout.
        data: $DATA with eurosat and caltech-101, or None: no linear probes.
        cache: Folder of the decoded photographs.
        scenes: Drawn scenes for each of their figures.
    """
    clip = dict(
        model_name=str(folder / f'{STEM}.json'), pretrained=str(folder / f'{STEM}.safetensors')
    )
    backbone = MODELS.build(dict(type='OpenCLIPViT', clip=clip))
    report = dict(photos=measure_photos(backbone, photos, cache))
    if data:
        report['linear_probe'] = {name: linear_probe(backbone, data, name) for name in PROBED}
    report['scenes'] = demo_clip_report.measure(folder, scenes, stem=STEM)
    return report


@torch.no_grad()
def measure_photos(backbone: OpenCLIPViT, photos: Path, cache: Path) -> dict[str, float]:
    """Top-1 of the validation photographs, and how often the best patch lies in the box.

    The best patch is the one that matches the caption of the photograph's own class best; it lies
    in the box if its centre does. Chance is the share of such patches.
    """
    val, names, towers = read_val(photos, cache), read_names(photos), backbone.towers
    text = text_features(towers, [names[key][0] for key in class_ids(photos)])
    boxes = torch.from_numpy(val.boxes) + torch.tensor([0, 0, 1, 1])
    inside = centres_inside(boxes, towers.clip.visual)
    hits: dict[str, list[Tensor]] = defaultdict(list)
    for start in range(0, len(val.labels), BATCH):
        part = slice(start, start + BATCH)
        labels = torch.from_numpy(val.labels[part])
        images = normalise(torch.from_numpy(val.images[part]).permute(0, 3, 1, 2))
        features, every = backbone(images), torch.arange(len(labels))
        logits = F.normalize(towers.image.project(features.image), dim=-1) @ text.T
        hits['top1'].append((logits.argmax(1) == labels).float())
        streams = {
            'vv': features.patches,
            'ordinary': ordinary_patches(towers.clip.visual, images),
        }
        for key, patches in streams.items():
            best = best_patches(towers, patches, text[labels])
            hits[f'pointing_{key}'].append(inside[part][every, best])
    report = {key: torch.cat(values).mean().item() for key, values in hits.items()}
    report['pointing_chance'] = inside.mean().item()
    return {key: round(value, 4) for key, value in report.items()}


def linear_probe(backbone: OpenCLIPViT, data: Path, name: str) -> float:
    """Logistic regression on image embeddings before the projection, top-1 of the test images.

    16 shots, the mean over three draws. The regularisation is chosen on 4 validation images a
    class.
    """
    test, labels = embeddings(backbone, build_set(data, name, 'test'))
    scores = []
    for seed in SEEDS:
        train, val = (
            embeddings(backbone, few_shot(data, name, split, shots, seed))
            for split, shots in (('train', SHOTS), ('val', VAL_SHOTS))
        )
        scores.append((fit_probe(train, val).predict(test) == labels).mean())
    return round(float(np.mean(scores)), 4)


def build_set(data: Path, name: str, split: str) -> BaseDataset:
    """One split of one of the benchmark's sets."""
    known = KNOWN_SETS[name]
    return DATASETS.build(
        dict(
            type='CoOpSplitDataset',
            data_root=str(data / known.folder),
            data_prefix=known.images,
            split_file=known.split_file,
            split=split,
            pipeline=TEST_PIPELINE,
        )
    )


def few_shot(data: Path, name: str, split: str, shots: int, seed: int) -> BaseDataset:
    """The few-shot part of a split, as configs draw it."""
    dataset = build_set(data, name, split)
    return DATASETS.build(dict(type='FewShotDataset', dataset=dataset, num_shots=shots, seed=seed))


@torch.no_grad()
def embeddings(backbone: OpenCLIPViT, dataset: BaseDataset) -> Labelled:
    """Image embeddings (N, W) before the projection, and labels (N,)."""
    features, labels = [], []
    for start in range(0, len(dataset), BATCH):
        items = [dataset[i] for i in range(start, min(start + BATCH, len(dataset)))]
        images = stack([item['img'][..., ::-1] for item in items])
        features.append(backbone(images).image.numpy())
        labels += [item['gt_label'] for item in items]
    return Labelled(np.concatenate(features), np.array(labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('folder', type=Path, help='where the weights and their config are')
    parser.add_argument('--photos', type=Path, required=True)
    parser.add_argument('--data', type=Path, help='with eurosat and caltech-101')
    args = parser.parse_args()
    report = measure(args.folder, args.photos, args.data, args.folder / 'cache')
    print(json.dumps(report, indent=2))


if __name__ == '__main__':
    main()
