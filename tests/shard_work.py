"""What a process does in the tests of shared-out text encoding; other processes import it."""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from process_group import join_group, leave_group
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from sotglp_mm.datasets.epoch_sampler import EpochSampler
from sotglp_mm.structures import ImageFeatures

NAMES = ['cat', 'grey-headed flying fox', 'ram', 'boeing 737-800', 'dog']  # 5: 2 and 3 leave some
IMAGES, P, WIDTH = 6, 9, 24
STEPS = 3  # epochs of one batch


@dataclass
class Case:
    """Images and classes of a training, what does not learn, and its precision."""

    images: int = IMAGES
    classes: int = len(NAMES)
    frozen: tuple[str, ...] = ()
    half: bool = False


class Losses(nn.Module):
    """Neck and head; the sum of the losses."""

    def __init__(self, clip: dict, num_classes: int):
        super().__init__()
        torch.manual_seed(0)
        self.neck = MODELS.build(dict(type='LocalProjectionNeck', clip=clip))
        self.head = MODELS.build(
            dict(
                type='SOTGLPHead',
                clip=clip,
                class_names=NAMES[:num_classes],
                num_local_prompts=2,
                selector=dict(type='SparsePatchSelector', k=4),
            )
        )

    def forward(self, patches, image, labels):
        samples = [DataSample().set_gt_label(int(label)) for label in labels]
        feats = self.neck(ImageFeatures(patches, image))
        return sum(self.head.loss(feats, samples).values())


def batch(step: int, rows: list[int], num_classes: int) -> list[torch.Tensor]:
    """Patches, image, labels."""
    generator = torch.Generator().manual_seed(step)
    return [
        torch.randn(IMAGES, P, WIDTH, generator=generator)[rows],
        torch.randn(IMAGES, WIDTH, generator=generator)[rows],
        torch.randint(num_classes, (IMAGES,), generator=generator)[rows],
    ]


def sampled_rows(images: int) -> list[list[int]]:
    """This process's images in each step, as the training's sampler gives them."""
    sampler = EpochSampler(range(images), seed=3)
    rows = []
    for step in range(STEPS):
        sampler.set_epoch(step)
        rows.append([int(index) for index in sampler])
    return rows


def train(
    model: nn.Module, parameters: dict, rows: list[list[int]], case: Case
) -> dict[str, torch.Tensor]:
    """A few steps; losses, gradients of the last step, parameters."""
    learned = {name: p for name, p in parameters.items() if p.requires_grad}
    optimizer = torch.optim.SGD(learned.values(), lr=0.1, momentum=0.9)
    found = {}
    torch.manual_seed(7)  # prompt dropout: MMEngine seeds all processes alike
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=case.half):
            loss = model(*batch(step, rows[step], case.classes))
        loss.backward()
        optimizer.step()
        found[f'loss {step}'] = loss.detach()
    for name, parameter in learned.items():
        found[f'gradient of {name}'] = parameter.grad
        found[name] = parameter.detach()
    return found


def build(clip: dict, case: Case) -> Losses:
    model = Losses(clip, case.classes)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in case.frozen)
    return model.train()


def train_share(world: int, clip: dict, case: Case) -> dict:
    """One of several processes: mean losses and what else :func:`train` finds, rows, classes."""
    model = build(clip, case)
    encoded = []
    encoder = model.head.text_encoder
    encode = encoder._encode
    encoder._encode = lambda context, classes, *args: (
        encoded.append(len(classes)) or encode(context, classes, *args)
    )
    rows = sampled_rows(case.images)
    found = train(DistributedDataParallel(model), dict(model.named_parameters()), rows, case)
    for step in range(STEPS):
        dist.all_reduce(found[f'loss {step}'], op=dist.ReduceOp.SUM)
        found[f'loss {step}'] /= world
    return dict(found=found, rows=rows, encoded=encoded)


def work(rank: int, world: int, folder: str, clip: dict, cases: dict[str, Case]) -> None:
    join_group(rank, world, folder)
    saved = {name: train_share(world, clip, case) for name, case in cases.items()}
    torch.save(saved, Path(folder) / f'{rank}.pt')
    leave_group()
