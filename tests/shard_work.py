"""What a process does in the tests of shared-out text encoding; spawned processes import it."""

from pathlib import Path

import torch
import torch.distributed as dist
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import sotglp_mm  # noqa: F401  registers the parts
from sotglp_mm.structures import ImageFeatures

NAMES = ['cat', 'grey-headed flying fox', 'ram', 'boeing 737-800', 'dog']  # 5: 2 and 3 leave some
BATCH, P, WIDTH = 6, 9, 24
STEPS = 3


class Losses(nn.Module):
    """Neck and head; the sum of the losses."""

    def __init__(self, clip: dict):
        super().__init__()
        torch.manual_seed(0)
        self.neck = MODELS.build(dict(type='LocalProjectionNeck', clip=clip))
        self.head = MODELS.build(
            dict(
                type='SOTGLPHead',
                clip=clip,
                class_names=NAMES,
                num_local_prompts=2,
                selector=dict(type='SparsePatchSelector', k=4),
            )
        )

    def forward(self, patches, image, labels, kept):
        self.head._draw_global_prompts = lambda batch_size: kept
        samples = [DataSample().set_gt_label(int(label)) for label in labels]
        feats = self.neck(ImageFeatures(patches, image))
        return sum(self.head.loss(feats, samples).values())


def batch(step: int, rows: slice) -> list[torch.Tensor]:
    """Patches, image, labels, and which global prompt each image sees."""
    generator = torch.Generator().manual_seed(step)
    return [
        torch.randn(BATCH, P, WIDTH, generator=generator)[rows],
        torch.randn(BATCH, WIDTH, generator=generator)[rows],
        torch.randint(len(NAMES), (BATCH,), generator=generator)[rows],
        torch.randint(3, (BATCH, 1), generator=generator)[rows],
    ]


def train(
    model: nn.Module, parameters: dict, rows: slice, half: bool = False
) -> dict[str, torch.Tensor]:
    """A few steps; losses, gradients of the last step, parameters."""
    learned = {name: p for name, p in parameters.items() if p.requires_grad}
    optimizer = torch.optim.SGD(learned.values(), lr=0.1, momentum=0.9)
    found = {}
    for step in range(STEPS):
        optimizer.zero_grad()
        with torch.autocast('cpu', torch.bfloat16, enabled=half):
            loss = model(*batch(step, rows))
        loss.backward()
        optimizer.step()
        found[f'loss {step}'] = loss.detach()
    for name, parameter in learned.items():
        found[f'gradient of {name}'] = parameter.grad
        found[name] = parameter.detach()
    return found


def build(clip: dict, frozen: tuple) -> Losses:
    model = Losses(clip)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return model.train()


def work(
    rank: int, world: int, folder: str, clip: dict, frozen: tuple, half: bool = False
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', f'file://{folder}/store', rank=rank, world_size=world)
    model = build(clip, frozen)
    encoded = []
    encoder = model.head.text_encoder
    encode = encoder._encode
    encoder._encode = lambda context, classes, *args: (
        encoded.append(len(classes)) or encode(context, classes, *args)
    )
    share = BATCH // world
    rows = slice(rank * share, (rank + 1) * share)
    found = train(DistributedDataParallel(model), dict(model.named_parameters()), rows, half)
    for step in range(STEPS):
        dist.all_reduce(found[f'loss {step}'], op=dist.ReduceOp.SUM)
        found[f'loss {step}'] /= world
    torch.save({'found': found, 'encoded': encoded}, Path(folder) / f'{rank}.pt')
    dist.destroy_process_group()
