"""Pretrain the tiny CLIP of the embedded demo on generated scenes (no download, CPU).

    python tools/studies/pretrain_demo_clip.py --out sotglp_mm/demo/assets

writes the model config (.json), the byte-pair merges (_bpe.txt.gz), the weights (.safetensors)
and what they reach (.report.json). Two stages: contrastive training from random weights, and a
shorter one that scales down the embedded patches, which the V-V stream starts with. The default
takes about 45 minutes on two cores with bfloat16 instructions; `--precision fp32` suits others and
takes up to twice as long.
"""

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from demo_clip_report import STEM, measure, normalise
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from sotglp_mm.demo.captions import byte_pair_merges, draw_batch, draw_single_parts, write_merges
from sotglp_mm.demo.world import IMAGE_SIZE, world_words

# The first steps see single large parts: shapes are found there, and small ones come after.
EASY_SHARE = 0.25
SETTLING = 1  # in the seeds of the second stage's batches
SETTLE_WARMUP = 20


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Settings of the run; the defaults made the shipped files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add('--out', type=Path, required=True, help='folder for the four files')
    add('--steps', type=int, default=2000)
    add('--batch', type=int, default=128)
    add('--lr', type=float, default=1e-3, help='peak learning rate')
    add('--warmup', type=int, default=100, help='steps of linear warm-up')
    add('--weight-decay', type=float, default=0.1)
    add('--settle-steps', type=int, default=400, help='steps of the second stage')
    add('--settle-lr', type=float, default=4e-4, help='its peak learning rate')
    add('--settle-gain', type=float, default=0.15, help='what it scales the embedded patches by')
    add('--settle-only', type=Path, metavar='WEIGHTS', help='of the first stage, same settings')
    add('--width', type=int, default=192, help='image tower, a multiple of 64')
    add('--layers', type=int, default=4, help='blocks of the image tower')
    add('--text-width', type=int, default=128, help='a multiple of 64')
    add('--text-layers', type=int, default=3)
    add('--seed', type=int, default=0)
    add('--threads', type=int, default=2)
    add('--workers', type=int, default=1, help='processes that draw scenes')
    add('--precision', choices=('bf16', 'fp32'), default='bf16')
    add('--eval-scenes', type=int, default=1000, help='scenes per figure reached')
    return parser.parse_args(argv)


class DemoBatches(Dataset):
    """Batch number `index` of a run, drawn from (*seed, index): workers do not change it."""

    def __init__(self, seed: tuple[int, ...], steps: int, size: int, easy: float) -> None:
        self.seed, self.steps, self.size, self.easy = seed, steps, size, easy

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, index: int) -> tuple[Tensor, list[str]]:
        rng = np.random.default_rng((*self.seed, index))
        easy = index < self.easy * self.steps
        batch = (draw_single_parts if easy else draw_batch)(self.size, rng)
        return torch.from_numpy(batch.images).permute(0, 3, 1, 2), batch.captions


def write_config(
    args: argparse.Namespace, stem: str, merges: list[tuple[str, str]], quick_gelu: bool
) -> dict[str, Any]:
    """Write the merges and open_clip's model config; returns the config."""
    write_merges(merges, args.out / f'{stem}_bpe.txt.gz')
    vision = dict(
        image_size=IMAGE_SIZE, patch_size=8, width=args.width, layers=args.layers, head_width=64
    )
    text = dict(
        context_length=32,
        vocab_size=512 + len(merges) + 2,
        width=args.text_width,
        heads=args.text_width // 64,
        layers=args.text_layers,
        tokenizer_kwargs=dict(bpe_path=f'{stem}_bpe.txt.gz'),
    )
    config = dict(embed_dim=128, quick_gelu=quick_gelu, vision_cfg=vision, text_cfg=text)
    (args.out / f'{stem}.json').write_text(json.dumps(config, indent=2) + '\n')
    return config


def build_model(config: dict[str, Any], folder: Path) -> tuple[CLIP, open_clip.SimpleTokenizer]:
    """The CLIP of a model config and its tokenizer."""
    text = config['text_cfg']
    tokenizer = open_clip.SimpleTokenizer(
        bpe_path=str(folder / text['tokenizer_kwargs']['bpe_path']),
        context_length=text['context_length'],
    )
    # CLIP starts at 14; the contrast that the frozen towers end with is what prompts learn with
    return CLIP(**config, init_logit_scale=math.log(20)), tokenizer


def encode_text(model: CLIP, tokens: Tensor) -> Tensor:
    """Normalised text features (B, D). The tower is causal, so it runs to the longest caption."""
    length = int(tokens.argmax(1).max()) + 1  # [EOT] has the largest id
    tokens = tokens[:, :length]
    x = model.token_embedding(tokens) + model.positional_embedding[:length]
    x = model.transformer(x, attn_mask=model.attn_mask[:length, :length])
    x = model.ln_final(x)[torch.arange(len(x)), tokens.argmax(1)]
    return F.normalize((x @ model.text_projection).float(), dim=-1)


def build_optimiser(model: nn.Module, args: argparse.Namespace) -> torch.optim.Optimizer:
    """AdamW that decays matrices only; embeddings, biases and norms are left alone."""
    decayed: list[nn.Parameter] = []
    spared: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_matrix = parameter.ndim >= 2 and 'embedding' not in name
        (decayed if is_matrix else spared).append(parameter)
    groups: list[dict[str, Any]] = [{'params': decayed}, {'params': spared, 'weight_decay': 0.0}]
    return torch.optim.AdamW(
        groups, lr=args.lr, betas=(0.9, 0.98), weight_decay=args.weight_decay, fused=True
    )


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Linear warm-up, then a half cosine to zero."""
    if step < warmup:
        return peak * (step + 1) / warmup
    done = (step - warmup) / max(steps - warmup, 1)
    return peak * 0.5 * (1 + math.cos(math.pi * done))


def train(
    model: CLIP, tokenizer: open_clip.SimpleTokenizer, args: argparse.Namespace, settling: bool
) -> float:
    """One stage of symmetric contrastive training; the mean loss of the last tenth of its steps.

    The V-V stream begins with the embedded patches, which no loss ever looks at and which
    attention then has to outweigh: in the second stage, the gain of `ln_pre` shrinks while the
    tower goes on learning.
    """
    steps, peak, warmup, shrinking = args.steps, args.lr, args.warmup, 0
    seed: tuple[int, ...] = (args.seed,)
    easy = EASY_SHARE
    if settling:
        steps, peak, warmup = args.settle_steps, args.settle_lr, SETTLE_WARMUP
        shrinking = max(int(0.4 * steps), 1)
        seed, easy = (args.seed, SETTLING), 0
    data = DemoBatches(seed, steps, args.batch, easy)
    optimiser, loss_fn = build_optimiser(model, args), ClipLoss()
    loader = DataLoader(data, batch_size=None, num_workers=args.workers)
    bar, losses = tqdm(loader, 'settling' if settling else 'pretraining', unit='step'), []
    for step, (images, captions) in enumerate(bar):
        for group in optimiser.param_groups:
            group['lr'] = learning_rate(step, steps, peak, warmup)
        with torch.autocast('cpu', torch.bfloat16, enabled=args.precision == 'bf16'):
            image = model.visual(normalise(images))
            text = encode_text(model, tokenizer(captions))
        image = F.normalize(image.float(), dim=-1)
        loss = loss_fn(image, text, model.logit_scale.exp())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
            for parameter in model.visual.ln_pre.parameters() if step < shrinking else ():
                parameter.mul_(args.settle_gain ** (1 / shrinking))
        losses.append(loss.item())
        bar.set_postfix(loss=f'{np.mean(losses[-50:]):.3f}')
    return float(np.mean(losses[-max(len(losses) // 10, 1) :]))


def save(model: nn.Module, path: Path) -> None:
    """The state dict with open_clip's keys, in float16; what is reported is measured on it."""
    state = {key: value.half().contiguous() for key, value in model.state_dict().items()}
    save_file(state, path, metadata={'format': 'pt'})
    path.chmod(0o644)  # safetensors makes it readable to its owner alone


def load(model: nn.Module, path: Path) -> None:
    model.load_state_dict({key: value.float() for key, value in load_file(path).items()})


def run_facts(args: argparse.Namespace) -> dict[str, dict]:
    """What a reader needs to make the same weights again."""
    settings = {k: v for k, v in vars(args).items() if k not in ('out', 'settle_only')}
    versions = {each.__name__: each.__version__ for each in (torch, open_clip, np)}
    return dict(settings=settings, versions=dict(python=platform.python_version(), **versions))


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    config = write_config(args, STEM, byte_pair_merges(world_words()), quick_gelu=True)
    model, tokenizer = build_model(config, args.out)
    file, facts = args.out / f'{STEM}.safetensors', {}
    stages = {} if args.settle_only else {'train': False}
    stages |= {'settle': True} if args.settle_steps else {}
    if args.settle_only:
        load(model, args.settle_only)
    for stage, settling in stages.items():
        start = time.time()
        loss = train(model, tokenizer, args, settling)
        facts[stage] = dict(seconds=round(time.time() - start), loss=round(loss, 4))
        save(model, file)
        load(model, file)  # in float16, so that it makes no difference where a stage starts from
    reached = measure(args.out, args.eval_scenes, args.seed)
    text = json.dumps(dict(reached=reached, stages=facts, **run_facts(args)), indent=2)
    (args.out / f'{STEM}.report.json').write_text(text + '\n')
    print(text)


if __name__ == '__main__':
    main()
