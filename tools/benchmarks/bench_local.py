"""The local branch alone, beside the product of all patches with all prompts."""

from argparse import Namespace
from collections.abc import Callable

import torch
import torch.nn.functional as F
from bench_measure import (
    GB,
    Clock,
    MatrixRate,
    median_ratio,
    medians,
    memory_above,
    peak_bytes,
)
from bench_model import DTYPES, build_model, build_plain, num_patches
from bench_operations import local_operations
from torch import Tensor, nn
from tqdm import trange

SMALL = dict(batch=1, classes=2)
"""Sizes of a run that makes libraries allocate what they keep, before memory is measured."""


def local(spec: Namespace) -> dict:
    """Seconds of forward and backward, interleaved."""
    model, clock = build_model(spec), Clock()
    inputs = random_inputs(model, spec.batch, spec.classes)
    runs = {name: contender(model, name, spec, inputs, clock) for name in contenders(spec)}
    for run in runs.values():
        run()
        clock.take()
    rate, rounds = MatrixRate(DTYPES['fp32']), []
    for _ in trange(spec.repeats, desc='rounds', disable=spec.quiet, leave=False):
        rate.measure()
        rounds.append(_round(runs, clock))

    figures = medians(rounds)
    return {
        **{key.removeprefix('package_'): s for key, s in figures.items() if 'package' in key},
        **{
            name: {
                'local_s': figures[f'{name}_local_s'],
                'local_forward_s': figures[f'{name}_local_forward_s'],
                'local_backward_s': figures[f'{name}_local_backward_s'],
            }
            for name in runs
            if name != 'package'
        },
        'local_ratio': median_ratio(rounds, 'package_local_s', 'product_local_s'),
        **_share(model, spec, rate, figures['package_local_s']),
    }


def local_memory(spec: Namespace) -> dict:
    """Memory above the inputs, of ``spec.contender`` (gradients are above), and the peak."""
    model, clock = build_model(spec), Clock()
    small = random_inputs(model, **SMALL)
    contender(model, spec.contender, spec, small, clock)()
    run = contender(
        model, spec.contender, spec, random_inputs(model, spec.batch, spec.classes), clock
    )
    built = peak_bytes()  # memory_above may make the kernel forget it
    above = memory_above(run)
    return dict(local_memory_gb=above / GB, peak_gb=max(built, peak_bytes()) / GB)


def contenders(spec: Namespace) -> tuple[str, ...]:
    """What is compared."""
    return ('package', 'product', 'plain') if spec.plain else ('package', 'product')


def random_inputs(model: nn.Module, batch: int, classes: int) -> dict[str, Tensor]:
    """Unit patches (B, P, D) and text features (C, N, D) that ask for gradients; labels (B,)."""
    joint = model.head.towers.clip.text_projection.shape[1]
    num_local = model.head.local_prompts.shape[1]
    patches = F.normalize(torch.randn(batch, num_patches(model), joint), dim=-1)
    text = F.normalize(torch.randn(classes, num_local, joint), dim=-1)
    return dict(
        patches=patches.requires_grad_(),
        text=text.requires_grad_(),
        labels=torch.randint(classes, (batch,)),
    )


def contender(
    model: nn.Module, name: str, spec: Namespace, inputs: dict[str, Tensor], clock: Clock
) -> Callable[[], None]:
    """Forward and backward of one way, down to the gradients of patches and text features.

    'package' and 'plain' go from the local scores to the loss and back. 'product' computes all
    similarities, and goes back from a gradient for each of them.
    """
    patches, text = inputs['patches'], inputs['text']
    if name == 'product':
        shape = (*patches.shape[:2], *text.shape[:2])
        dense = torch.randn(shape)  # an input, too

        def forward() -> Tensor:
            return torch.einsum('bpd,cnd->bpcn', patches, text)
    else:
        owner = model.head if name == 'package' else build_plain(model, spec)
        scores = owner._local_scores if name == 'package' else owner.local_scores
        scale, dense = model.head.towers.logit_scale, None

        def forward() -> Tensor:
            return F.cross_entropy(scale * scores(patches, text), inputs['labels'])

    def run() -> None:
        with clock.phase('local_forward_s'):
            out = forward()
        with clock.phase('local_backward_s'):
            out.backward(dense)
        patches.grad = text.grad = None

    return run


def _round(runs: dict[str, Callable], clock: Clock) -> dict[str, float]:
    seconds = {}
    for name, run in runs.items():
        run()
        taken = clock.take('local_forward_s', 'local_backward_s')
        taken['local_s'] = sum(taken.values())
        seconds |= {f'{name}_{key}': value for key, value in taken.items()}
    return seconds


def _share(model: nn.Module, spec: Namespace, rate: MatrixRate, seconds: float) -> dict:
    joint = model.head.towers.clip.text_projection.shape[1]
    counts = local_operations(
        spec.batch, spec.classes, num_patches(model), spec.k, spec.local_prompts, joint
    )
    total = sum(counts.values())
    return dict(
        necessary_gflop=total / 1e9,
        **rate.figures,
        matrix_share=total / seconds / rate.per_second,
    )
