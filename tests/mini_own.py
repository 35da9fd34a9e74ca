"""A run on a user's own images whose data is gone afterwards: config, checkpoint, predictions."""

import itertools
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mini_data import write_image
from mini_runs import REPO, small_config
from mmengine.runner import Runner
from PIL import Image, ImageDraw

CLASSES = ('red fox', 'green frog', 'blue whale')  # a folder each; sorted, they are labels 2, 1, 0


class OwnRun(NamedTuple):
    config: Path
    checkpoint: Path
    images: Path
    """The test images, where the config does not look for them."""

    expected: dict[str, np.ndarray]
    """Probabilities in testing, by path below ``images``."""


def write_photos(root: Path) -> None:
    for split, count in {'train': 4, 'test': 3}.items():
        for label, name in enumerate(CLASSES):
            for i in range(count):
                write_image(root / split / name / f'{i}.jpg', label)


def train_own(folder: Path, clip: dict) -> OwnRun:
    """Train, test, and take the data away."""
    photos = folder / 'photos'
    write_photos(photos)
    base = REPO / 'configs' / 'sotglp_vitb16_16shot_own.py'
    cfg = small_config(base, photos, folder / 'run', clip)
    assert cfg.model.head.class_names == sorted(CLASSES)
    cfg.model.head.class_names = str(photos)
    cfg.dump(folder / 'config.py')
    runner = Runner.from_cfg(cfg)
    runner.train()
    expected = {}
    runner.model.eval()
    for batch in runner.build_dataloader(cfg.test_dataloader):
        for sample in runner.model.test_step(batch):
            name = str(Path(sample.img_path).relative_to(photos / 'test'))
            expected[name] = sample.pred_score.numpy()
    photos.rename(folder / 'elsewhere')
    checkpoint = folder / 'run' / 'epoch_1.pth'
    return OwnRun(folder / 'config.py', checkpoint, folder / 'elsewhere' / 'test', expected)


COLOURS = {'red': (230, 45, 45), 'blue': (60, 100, 250)}
CORNERS = {'circle': 60, 'square': 4, 'triangle': 3}


def write_shapes(root: Path, count: int, seed: int = 0) -> None:
    """``root/<colour> <shape>/<i>.png``, which the embedded CLIP can tell apart."""
    rng = np.random.default_rng(seed)
    for colour, shape in itertools.product(COLOURS, CORNERS):
        folder = root / f'{colour} {shape}'
        folder.mkdir(parents=True)
        for i in range(count):
            image = Image.new('RGB', (96, 80), tuple(map(int, rng.integers(20, 60, 3))))
            circle = (*map(int, rng.integers((34, 30), (62, 50))), int(rng.integers(12, 26)))
            ImageDraw.Draw(image).regular_polygon(
                circle, CORNERS[shape], rotation=int(rng.integers(360)), fill=COLOURS[colour]
            )
            image.save(folder / f'{i}.png')
