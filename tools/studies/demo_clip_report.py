"""Measure what the demo's tiny CLIP reaches, on generated scenes that no training saw."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from open_clip.transformer import VisionTransformer
from torch import Tensor

from sotglp_mm.clip.towers import ClipTowers
from sotglp_mm.demo.datasets import DemoDigitsDataset
from sotglp_mm.demo.world import DIGITS, PAIRS, TEMPLATE, render_scene

STEM = 'sotglp_demo'
Encode = Callable[[Tensor], Tensor]
# CLIP's own normalisation, RGB in 0-255, so that the demo's configs use the same as the real one.
MEAN = torch.tensor([122.771, 116.746, 104.094]).view(1, 3, 1, 1)
STD = torch.tensor([68.5, 66.632, 70.323]).view(1, 3, 1, 1)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) RGB in 0-255 to what the tower takes."""
    return (images.float() - MEAN.to(images.device)) / STD.to(images.device)


def measure(folder: Path, scenes: int = 1000, seed: int = 0, stem: str = STEM) -> dict[str, float]:
    """All figures, fractions of one, of the files in `folder`; `scenes` for each of them."""
    clip = dict(
        model_name=str(folder / f'{stem}.json'), pretrained=str(folder / f'{stem}.safetensors')
    )
    backbone = MODELS.build(dict(type='OpenCLIPViT', clip=clip, first_block_residual=True))
    variant = MODELS.build(dict(type='OpenCLIPViT', clip=clip, first_block_residual=False))
    towers = backbone.towers
    rng = np.random.default_rng((seed, 2**32))  # pretraining draws from (seed, step)
    streams = {
        'vv': lambda images: backbone(images).patches,
        'vv_without_first_block_residual': lambda images: variant(images).patches,
        'ordinary': lambda images: ordinary_patches(towers.clip.visual, images),
    }
    report = pointing(streams, towers, scenes, rng)
    for group, names in {'pairs': PAIRS, 'generated_digits': DIGITS}.items():
        labels = rng.integers(len(names), size=scenes)
        images = [render_scene([names[label]], rng).image for label in labels]
        report[f'zero_shot_{group}'] = zero_shot(towers, images, labels, names)
    digits = DemoDigitsDataset('test')
    items = [digits[i] for i in range(len(digits))]
    images = [item['img'][..., ::-1] for item in items]
    labels = np.array([item['gt_label'] for item in items])
    report['zero_shot_real_digits'] = zero_shot(towers, images, labels, digits.CLASSES)
    report['logit_scale'] = towers.logit_scale.item()
    return {key: round(value, 4) for key, value in report.items()}


@torch.no_grad()
def pointing(
    streams: Mapping[str, Encode], towers: ClipTowers, scenes: int, rng: np.random.Generator
) -> dict[str, float]:
    """How often the patch that best matches a shape's caption lies on that shape.

    Scenes have two to four shapes, one of them is asked for. A patch lies on it if it shows any
    of its pixels; under 'centre', if the patch's centre is in the shape's bounding box (which for
    a frame or a moon is bare ground). 'chance' is the share of such patches. `streams` names
    functions from images to patch features (B, P, W).
    """
    shots, covers, boxes, names = [], [], [], []
    for _ in range(scenes):
        shown = [str(name) for name in rng.choice(PAIRS, rng.integers(2, 5), replace=False)]
        scene = render_scene(shown, rng)
        shots.append(scene.image)
        covers.append(scene.covers[0])
        boxes.append(scene.parts[0].box)
        names.append(shown[0])
    images, text = stack(shots), text_features(towers, names)
    patch = towers.clip.visual.patch_size[0]
    hits = {
        '': F.max_pool2d(torch.tensor(np.stack(covers)).float(), patch).flatten(1),
        'centre_': centres_inside(torch.tensor(boxes), towers.clip.visual),
    }
    report = {}
    for key, encode in streams.items():
        best = best_patches(towers, encode(images), text)
        for kind, hit in hits.items():
            report[f'pointing_{kind}{key}'] = hit[torch.arange(scenes), best].mean().item()
    for kind, hit in hits.items():
        report[f'pointing_{kind}chance'] = hit.mean().item()
    return report


def best_patches(towers: ClipTowers, patches: Tensor, text: Tensor) -> Tensor:
    """Of features (B, P, W), which patch matches an image's text (B, D) best; (B,)."""
    patches = F.normalize(towers.image.project(patches), dim=-1)
    return torch.einsum('bpd,bd->bp', patches, text).argmax(1)


def ordinary_patches(visual: VisionTransformer, images: Tensor) -> Tensor:
    """What CLIP's own patch tokens are at the end, after ln_post; (B, P, W)."""
    outputs = visual.forward_intermediates(
        images, indices=1, normalize_intermediates=True, output_fmt='NLC', intermediates_only=True
    )
    return outputs['image_intermediates'][0]


def centres_inside(boxes: Tensor, visual: VisionTransformer) -> Tensor:
    """Whether each patch's centre is in the box, float (B, P)."""
    (rows, columns), patch = visual.grid_size, visual.patch_size[0]
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    x, y = ((v.reshape(1, -1) + 0.5) * patch for v in (x, y))
    x0, y0, x1, y1 = boxes[:, :, None].unbind(1)
    return ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)).float()


@torch.no_grad()
def zero_shot(
    towers: ClipTowers, images: Sequence[np.ndarray], labels: np.ndarray, names: Sequence[str]
) -> float:
    """Top-1 of the image embedding against the captions of all `names`."""
    features = F.normalize(towers.clip.visual(stack(images)), dim=-1)
    predicted = (features @ text_features(towers, names).T).argmax(1)
    return (predicted.numpy() == labels).mean().item()


@torch.no_grad()
def text_features(towers: ClipTowers, names: Sequence[str]) -> Tensor:
    """Unit features of 'a photo of a {name}', (len(names), D)."""
    tokens = towers.text.tokenizer([TEMPLATE.format(name) for name in names])
    return towers.clip.encode_text(tokens, normalize=True)


def stack(images: Sequence[np.ndarray]) -> Tensor:
    """Images (H, W, 3), RGB in 0-255, to what the tower takes, (B, 3, H, W)."""
    return normalise(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2))
