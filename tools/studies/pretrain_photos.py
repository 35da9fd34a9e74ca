"""Pretrain a tiny CLIP on photographs, on a CPU or a GPU.

    python tools/studies/pretrain_photos.py --photos tiny-imagenet-200 --out work/photos \
        --data data

writes the model config (.json), the byte-pair merges (_bpe.txt.gz), the weights (.safetensors)
and what they reach (.report.json). The same command goes on after a kill, from the checkpoint
that is written every few minutes, and ends at the same weights.

Every class has a caption, photographs and drawn parts alike, and an image is to choose among the
captions of all classes. Every batch has single photographs, mosaics of four and, if asked for,
drawn scenes of the embedded demo. What lies where in the latter two is known, so the patches of
the V-V stream learn to answer for what they show. Photographs are scaled to half their size, a
quarter of the tokens, until the last part of the training.
"""

import argparse
import io
import json
import math
import re
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from demo_clip_report import normalise
from open_clip.model import CLIP
from open_clip.transformer import VisionTransformer
from photo_batches import Pictures, draw_captions, draw_mosaics, draw_photos, draw_scenes
from photo_clip_report import STEM, measure
from photo_folder import SIZE, class_ids, read_names, read_train
from photo_tokens import Pair, frequent_merges
from pretrain_demo_clip import (
    build_model,
    build_optimiser,
    encode_text,
    run_facts,
    save,
    write_config,
)
from torch import Tensor
from tqdm import tqdm

from sotglp_mm.demo.world import PART_NAMES, TEMPLATE, world_words
from sotglp_mm.functional import dual_attention
from sotglp_mm.io.files import write_atomically

MERGES = 1022  # 512 bytes, the merges and two marks: 1536 tokens
# single photographs are what the tower is measured by; the rest is to cost them little
WEIGHTS = dict(photos=1.0, mosaics=0.3, mosaics_vv=0.5, scenes=0.3, scenes_vv=0.3, synonyms=0.1)
NOT_SETTINGS = ('photos', 'out', 'data', 'threads', 'save_every', 'eval_scenes', 'steps')


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Settings of the run; the defaults made the shipped files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--photos', type=Path, required=True, help="a folder in Tiny-ImageNet's layout")
    add('--out', type=Path, required=True, help='folder for the files and the checkpoint')
    add(
        '--data', type=Path, help='$DATA, with eurosat and caltech-101: linear probes are measured'
    )
    add('--steps', type=int, default=5500, help='may change until the learning rate falls')
    add('--batch', type=int, default=192, help='photographs a step, while they are small')
    add('--mosaics', type=int, default=8, help='a step')
    add('--scenes', type=int, default=0, help='drawn scenes a step')
    add('--synonyms', type=int, default=32, help='pairs of names of one thing, a step')
    add('--small', type=int, default=32, help='pixels of a side of the photographs at first')
    add('--finish', type=float, default=0.15, help='last share of the steps, with full size')
    add('--lr', type=float, default=1e-3, help='peak learning rate')
    add('--warmup', type=int, default=300, help='steps of linear warm-up')
    add('--decay', type=float, default=0.35, help='last share of the steps, where the rate falls')
    add('--weight-decay', type=float, default=0.1)
    add('--smoothing', type=float, default=0.1, help='of the labels of single photographs')
    add('--width', type=int, default=192, help='image tower, a multiple of 64')
    add('--layers', type=int, default=6, help='blocks of the image tower')
    add('--text-width', type=int, default=128, help='a multiple of 64')
    add('--text-layers', type=int, default=2)
    add('--seed', type=int, default=0)
    add('--threads', type=int, default=2)
    add('--eval-scenes', type=int, default=1000, help='drawn scenes per figure reached')
    add('--save-every', type=float, default=120, help='seconds between checkpoints')
    return parser.parse_args(argv)


def caption_merges(args: argparse.Namespace) -> list[Pair]:
    """Byte pairs that are commonest in the names of things."""
    names = read_names(args.photos)
    words = Counter(w for several in names.values() for n in several for w in _words(n))
    # words of the captions are to be single tokens, if there is room
    for key in class_ids(args.photos):
        words.update({w: 100 for name in names[key] for w in _words(name)})
    words = Counter({word: count for word, count in words.items() if count > 2})
    words.update({word: 1000 for word in (*world_words(), 'the', 'picture')})
    return frequent_merges(words, MERGES)


def _words(name: str) -> list[str]:
    return re.findall('[a-z]+', name)


class Batches:
    """What step number `step` learns from; all of it follows from the seed and the step."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.photos = read_train(args.photos, args.out / 'cache')
        names = read_names(args.photos)
        self.class_names = [names[key] for key in class_ids(args.photos)]
        self.part_names = [[name] for name in PART_NAMES] if args.scenes else []
        self.synonyms = [several for several in names.values() if len(several) > 1]

    def __call__(self, step: int) -> tuple[dict[str, Pictures], list[list[str]], list[str]]:
        """Pictures of three kinds, captions of all classes, and pairs of synonyms."""
        args, rng = self.args, np.random.default_rng((self.args.seed, step))
        full = step >= args.steps - int(args.finish * args.steps)
        count, size = (args.batch // 2, SIZE) if full else (args.batch, args.small)
        pictures = dict(
            photos=draw_photos(self.photos, count, size, rng),
            mosaics=draw_mosaics(self.photos, args.mosaics, rng),
            scenes=draw_scenes(args.scenes, len(self.class_names), rng),
        )
        captions = [draw_captions(n, rng) for n in (self.class_names, self.part_names) if n]
        chosen = rng.choice(len(self.synonyms), min(args.synonyms, len(self.synonyms)), False)
        pairs = [rng.choice(self.synonyms[i], 2, replace=False) for i in chosen]
        return pictures, captions, [TEMPLATE.format(name) for pair in pairs for name in pair]


def encode_image(
    visual: VisionTransformer, images: Tensor, with_patches: bool
) -> tuple[Tensor, Tensor | None]:
    """Projected [CLS] (B, D) and, if asked for, patches of the V-V stream (B, P, D).

    As OpenCLIPViT computes them, but with gradients, and for images of fewer patches.
    """
    x = visual.conv1(images)
    grid, width = x.shape[-2:], x.shape[1]
    places = visual.positional_embedding[1:].T.reshape(1, width, *visual.grid_size)
    x = (x + F.interpolate(places, tuple(grid), mode='area')).flatten(2).mT
    first = visual.class_embedding + visual.positional_embedding[0]
    x = visual.ln_pre(torch.cat([first.expand(len(x), 1, -1), x], 1))
    z = x[:, 1:]
    blocks = visual.transformer.resblocks
    for index, block in enumerate(blocks):
        last, y = block is blocks[-1], block.ln_1(x)
        if with_patches:
            attended, collected = dual_attention(y, block.attn, class_token_only=last)
            z = z + collected + (attended[:, 1:] if index == 0 and not last else 0)
        else:
            attended = block.attention(y[:, :1] if last else y, y, y)
        x = (x[:, :1] if last else x) + attended
        x = x + block.mlp(block.ln_2(x))
    image = visual.ln_post(x[:, 0]) @ visual.proj
    return image, visual.ln_post(z) @ visual.proj if with_patches else None


def picture_losses(
    model: CLIP, pictures: Pictures, text: Tensor, smoothing: float, device: str
) -> list[Tensor]:
    """Cross entropy of the images, and of the regions where they are known."""
    images = torch.from_numpy(pictures.images).to(device).permute(0, 3, 1, 2)
    image, patches = encode_image(model.visual, normalise(images), pictures.regions is not None)
    labels = torch.from_numpy(pictures.labels).to(device)
    shown, scale = labels >= 0, model.logit_scale.exp()
    target = F.one_hot(labels.clamp(min=0), len(text)) * shown[..., None]
    target = target.sum(1) / shown.sum(1, keepdim=True)
    logits = scale * F.normalize(image, dim=-1) @ text.T
    losses = [F.cross_entropy(logits, target, label_smoothing=smoothing)]
    if patches is not None:
        regions = torch.from_numpy(pictures.regions).to(device)
        pooled = regions @ F.normalize(patches, dim=-1)
        logits = scale * pooled[shown] @ text.T
        losses.append(F.cross_entropy(logits, labels[shown], label_smoothing=smoothing))
    return losses


def learning_rate(step: int, args: argparse.Namespace) -> float:
    """Linear warm-up, constant, then linear to zero: until it falls, the end need not be known."""
    falling = args.decay * args.steps
    return args.lr * min((step + 1) / args.warmup, 1, (args.steps - step) / falling)


class Run:
    """Model, optimiser and how far they are; on disk as one checkpoint."""

    def __init__(self, args: argparse.Namespace, device: str) -> None:
        torch.manual_seed(args.seed)
        self.args, self.device = args, device
        config = write_config(args, STEM, caption_merges(args), quick_gelu=False)
        model, self.tokenizer = build_model(config, args.out)
        self.model = model.to(device)
        self.optimiser = build_optimiser(self.model, args)
        self.step, self.seconds = 0, 0.0
        self.losses: dict[str, float] = {}
        self.file = args.out / 'checkpoint.pt'
        self.settings = {k: v for k, v in vars(args).items() if k not in NOT_SETTINGS}
        if self.file.exists():
            self._resume()

    def _resume(self) -> None:
        saved = torch.load(self.file, map_location=self.device, weights_only=True)
        found, steps = saved['settings'], (saved['steps'], self.args.steps)
        differing = {k: (found.get(k), v) for k, v in self.settings.items() if found.get(k) != v}
        ending = 1 - max(self.args.decay, self.args.finish)
        if differing or (steps[0] != steps[1] and saved['step'] > int(min(steps) * ending)):
            differing = differing or {'steps, of which the last part has begun': steps}
            raise ValueError(
                f'{self.file} is of a run with other settings (there, here): {differing}. '
                'Give the same ones to go on, or another --out to start anew.'
            )
        self.model.load_state_dict(saved['model'])
        self.optimiser.load_state_dict(saved['optimiser'])
        self.step, self.seconds, self.losses = (saved[k] for k in ('step', 'seconds', 'losses'))

    def save(self) -> None:
        """Write the checkpoint; the older one stays until the new one is complete."""
        state = dict(
            model=self.model.state_dict(),
            optimiser=self.optimiser.state_dict(),
            step=self.step,
            steps=self.args.steps,
            seconds=self.seconds,
            losses=self.losses,
            settings=self.settings,
        )
        buffer = io.BytesIO()
        torch.save(state, buffer)
        write_atomically(self.file, buffer.getvalue(), 'Make room, and give the command again')

    def train(self, batches: Batches) -> None:
        steps, saved = self.args.steps, time.time()
        bar = tqdm(
            range(self.step, steps), 'pretraining', steps, initial=self.step, unit='step',
            mininterval=0.5 if sys.stderr.isatty() else 60,
        )  # fmt: skip
        for step in bar:
            begun = time.time()
            for key, loss in self.update(*batches(step)).items():
                self.losses[key] = loss + 0.98 * (self.losses.get(key, loss) - loss)
            bar.set_postfix({k: f'{v:.2f}' for k, v in self.losses.items()}, refresh=False)
            self.step, now = step + 1, time.time()
            self.seconds += now - begun
            if now - saved > self.args.save_every:
                self.save()
                saved = now

    def update(
        self, pictures: dict[str, Pictures], captions: list[list[str]], synonyms: list[str]
    ) -> dict[str, float]:
        """One step; returns its losses."""
        model = self.model
        for group in self.optimiser.param_groups:
            group['lr'] = learning_rate(self.step, self.args)
        text = torch.cat([self.encode_text(texts) for texts in captions])
        losses: dict[str, Tensor] = {}
        for kind, of_kind in pictures.items():
            if len(of_kind.images):
                parts = picture_losses(model, of_kind, text, self.args.smoothing, self.device)
                losses.update(zip((kind, f'{kind}_vv'), parts))
        if synonyms:
            one, other = self.encode_text(synonyms).view(-1, 2, text.shape[1]).unbind(1)
            logits = model.logit_scale.exp() * one @ other.T
            losses['synonyms'] = F.cross_entropy(logits, torch.arange(len(one)).to(self.device))
        weighted = (WEIGHTS[key] * loss for key, loss in losses.items())
        total = sum(weighted, start=torch.zeros(()))
        self.optimiser.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        self.optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        return {key: loss.item() for key, loss in losses.items()}

    def encode_text(self, texts: list[str]) -> Tensor:
        return encode_text(self.model, self.tokenizer(texts).to(self.device))


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    run = Run(args, device)
    run.train(Batches(args))
    run.save()
    save(run.model, args.out / f'{STEM}.safetensors')
    report = dict(
        reached=measure(args.out, args.photos, args.data, args.out / 'cache', args.eval_scenes),
        seconds=round(run.seconds),
        device=device,
        losses={key: round(loss, 4) for key, loss in run.losses.items()},
        settings=dict(run.settings, steps=args.steps),
        versions=run_facts(args)['versions'],
    )
    text = json.dumps(report, indent=2)
    (args.out / f'{STEM}.report.json').write_text(text + '\n')
    print(text)


if __name__ == '__main__':
    main()
