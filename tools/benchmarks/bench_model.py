"""What the benchmark runs: the model as a config builds it, random images, one training step."""

from argparse import Namespace
from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path

import torch
from bench_measure import Clock
from bench_operations import (
    Tower,
    global_operations,
    image_operations,
    local_operations,
    neck_operations,
    text_operations,
    tower_sizes,
)
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from plain_method import PlainMethod
from torch import Tensor, nn

import sotglp_mm  # noqa: F401  registers the parts
from sotglp_mm.class_names.resolve import resolve_class_names

MODEL_CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/models/sotglp_vitb16.py'
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16}


def build_model(spec: Namespace) -> nn.Module:
    """The package's classifier, in training mode."""
    cfg = Config.fromfile(MODEL_CONFIG).model
    cfg.clip = dict(model_name=spec.model, pretrained=spec.pretrained)
    cfg.head.update(
        class_names=class_names(spec.classes),
        num_global_prompts=spec.global_prompts,
        num_local_prompts=spec.local_prompts,
    )
    cfg.head.selector.k = spec.k
    return MODELS.build(cfg).train()


def build_plain(model: nn.Module, spec: Namespace) -> PlainMethod:
    """The plain method with the CLIP of the package's model."""
    towers = model.head.towers
    return PlainMethod(
        towers.clip,
        towers.text.tokenizer,
        model.head.class_names,
        spec.global_prompts,
        spec.local_prompts,
        spec.k,
    )


def class_names(count: int) -> list[str]:
    """Names of real length: ImageNet's, from the start again when they run out."""
    return list(islice(cycle(resolve_class_names('imagenet')), count))


def random_batch(model: nn.Module, batch: int) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) as a pipeline would normalise them, labels (B,)."""
    images = torch.randn(batch, 3, *model.backbone.towers.clip.visual.image_size)
    return images, torch.randint(model.head.num_classes, (batch,))


def autocast(precision: str) -> torch.autocast:
    """As mixed precision of a run on a CPU: nothing for fp32."""
    return torch.autocast('cpu', dtype=torch.bfloat16, enabled=precision == 'bf16')


def watch_package(model: nn.Module, clock: Clock) -> None:
    """Let the clock time the parts of the package's model."""
    clock.watch(model.backbone, 'forward', 'image_forward_s')
    clock.watch(model.head.text_encoder, 'forward', 'text_forward_s')
    clock.watch(model.head, '_local_scores', 'local_s')


def watch_plain(plain: PlainMethod, clock: Clock) -> None:
    """Let the clock time the same parts of the plain method."""
    clock.watch(plain, 'encode_image', 'image_forward_s')
    clock.watch(plain, 'encode_text', 'text_forward_s')
    clock.watch(plain, 'local_scores', 'local_s')


def package_losses(model: nn.Module, images: Tensor, labels: Tensor) -> Callable[[], list[Tensor]]:
    """The forward pass of a training step, as MMPretrain's classifier runs it."""
    samples = [DataSample().set_gt_label(label) for label in labels]

    def losses() -> list[Tensor]:
        feats = model.neck(model.backbone(images))
        return list(model.head.loss(feats, samples).values())

    return losses


class TrainStep:
    """One training step, timed.

    Args:
        losses: The forward pass.
        module: Whose parameters learn.
        clock: Watches the parts of ``module`` already.
        precision: ``'fp32'`` or ``'bf16'``.
    """

    PHASES = ('text_forward_s', 'image_forward_s', 'local_s', 'backward_s')

    def __init__(
        self,
        losses: Callable[[], list[Tensor]],
        module: nn.Module,
        clock: Clock,
        precision: str,
    ):
        self.losses, self.clock, self.precision = losses, clock, precision
        learned = [p for p in module.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(learned, lr=2e-3, momentum=0.9, weight_decay=0.01)

    def __call__(self) -> dict[str, float]:
        """Run; seconds of each phase, of what is left (neck, losses, SGD), and of the whole."""
        with self.clock.phase('step_s'):
            with autocast(self.precision):
                loss = sum(self.losses())
            with self.clock.phase('backward_s'):
                loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
        seconds = self.clock.take(*self.PHASES)
        seconds['other_s'] = seconds['step_s'] - sum(seconds[name] for name in self.PHASES)
        return seconds


def necessary_operations(model: nn.Module, spec: Namespace) -> dict[str, int]:
    """Necessary operations of a training step, by part; see ``_bench_operations.py``."""
    head, (visual, text) = model.head, _towers(model)
    patches = num_patches(model)
    joint = visual.joint_width
    patch_values = 3 * model.backbone.towers.clip.visual.conv1.weight[0, 0].numel()
    encode = head.towers.text.tokenizer.encode
    names = [len(encode(name.replace('_', ' '))) for name in head.class_names]
    forward = text_operations(
        text, names, len(head.global_prompts[0]), spec.global_prompts, spec.local_prompts
    )
    local = local_operations(spec.batch, spec.classes, patches, spec.k, spec.local_prompts, joint)
    return dict(
        text_forward=forward,
        text_backward=forward,
        image_forward=spec.batch * image_operations(visual, patches, patch_values),
        neck=neck_operations(visual, spec.batch, patches),
        local_forward=local['forward'],
        local_backward=local['backward'],
        global_scores=2 * global_operations(spec.batch, spec.classes, spec.global_prompts, joint),
    )


def recomputed(head: nn.Module) -> float:
    """Share of the prompts that a step encodes again in the backward pass, to save memory."""
    encoder = head.text_encoder
    classes, again, total = list(range(head.num_classes)), 0, 0
    for prompts in (head.global_prompts, head.local_prompts):
        count, own = prompts.shape[-3], prompts.ndim == 4
        again += count * encoder._chunks(classes, count, own, with_grad=True)[0]
        total += count
    return again / total


def num_patches(model: nn.Module) -> int:
    """P."""
    rows, columns = model.backbone.towers.clip.visual.grid_size
    return rows * columns


def _towers(model: nn.Module) -> tuple[Tower, Tower]:
    clip = model.head.towers.clip
    joint = clip.text_projection.shape[1]
    return tower_sizes(clip.visual.transformer, joint), tower_sizes(clip.transformer, joint)
