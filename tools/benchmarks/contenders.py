"""What is compared: the package's model as its config builds it, and the plain implementation.

Both have the same parts, so that the same code measures both.
"""

from collections.abc import Callable
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from plain_method import PlainMethod
from torch import Tensor

import sotglp_mm  # noqa: F401  registers the parts
from sotglp_mm.class_names.resolve import resolve_class_names

Run = Callable[[], object]
MODEL_CONFIG = Path(__file__).resolve().parents[2] / 'configs/_base_/models/sotglp_vitb16.py'
DTYPES = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}


class Spec(NamedTuple):
    """What is measured, and how."""

    model: str = 'ViT-B-16'
    pretrained: str | None = None  # random weights: the work is the same
    classes: int = 100
    batch: int = 8
    k: int = 10
    local_prompts: int = 4
    global_prompts: int = 3
    rank: str = 'mean'  # how patches are selected
    keep: bool = False  # all of text for the backward pass, however many the classes
    precision: str = 'fp32'
    device: str = 'cpu'
    threads: int | None = None  # torch's own number
    repeats: int = 5


class Contender(NamedTuple):
    """A model and its images, in parts that can be run and measured."""

    module: Any  # CLIPClassifier or PlainMethod
    images: Tensor  # (B, 3, H, W), normalised
    encode_text: Run  # features of the global and of the local prompts
    encode_image: Run  # both streams of the image tower
    local_scores: Callable[[Tensor, Tensor], Tensor]  # (B, P, D) and (C, N, D) -> (B, C)
    loss: Callable[[], Tensor]  # forward pass of a training step
    predict: Run  # evaluation of a batch; text is encoded at the first
    clip_image: Run  # open_clip's own image embedding, one stream
    local_sizes: tuple[int, int]  # P and D
    scale: Tensor  # of the logits


def build_package(spec: Spec, training: bool = True) -> Contender:
    """The package's classifier as its config builds it, in training mode or in evaluation."""
    torch.manual_seed(0)
    torch.set_num_threads(spec.threads or torch.get_num_threads())
    cfg = Config.fromfile(MODEL_CONFIG).model
    cfg.clip = dict(model_name=spec.model, pretrained=spec.pretrained)
    # of real length: ImageNet's, from the start again when they run out
    names = islice(cycle(resolve_class_names('imagenet')), spec.classes)
    cfg.head.update(
        class_names=list(names),
        num_global_prompts=spec.global_prompts,
        num_local_prompts=spec.local_prompts,
    )
    cfg.head.selector.update(k=spec.k, rank=spec.rank)
    if spec.keep:
        cfg.head.class_chunk = None
    model = MODELS.build(cfg).train(training).to(spec.device)
    head, towers = model.head, model.towers
    images, labels = _batch(spec, towers.image.image_size)
    prompts = (head.global_prompts, head.local_prompts)
    samples = [DataSample().set_gt_label(label) for label in labels]

    def local_scores(patches: Tensor, text: Tensor) -> Tensor:
        similarity = head.local_similarity(patches, text, head.selector(patches, text))
        return head.local_loss.scores(similarity)

    return Contender(
        module=model,
        images=images,
        encode_text=lambda: list(map(head.text_encoder, prompts)),
        encode_image=lambda: model.backbone(images),
        local_scores=local_scores,
        loss=lambda: sum(head.loss(model.neck(model.backbone(images)), samples).values()),
        predict=lambda: head.predict(model.neck(model.backbone(images))),
        clip_image=torch.no_grad()(lambda: towers.clip.encode_image(images)),
        local_sizes=(towers.image.num_patches, towers.image.joint_width),
        scale=towers.logit_scale,
    )


def build_plain(spec: Spec, package: Contender) -> Contender:
    """The plain implementation, with the package's CLIP, class names, images and labels."""
    towers, names = package.module.towers, package.module.head.class_names
    sizes = (spec.global_prompts, spec.local_prompts, spec.k)
    plain = PlainMethod(towers.clip, towers.text.tokenizer, names, *sizes)
    images, labels = _batch(spec, towers.image.image_size)
    prompts = (plain.global_prompts, plain.local_prompts)
    text: list[Tensor] = []

    def predict() -> Tensor:
        text.extend([] if text else map(plain.encode_text, prompts))
        return plain.predict(images, *text)

    return package._replace(
        module=plain,
        encode_text=lambda: list(map(plain.encode_text, prompts)),
        encode_image=lambda: plain.encode_image(images),
        local_scores=plain.local_scores,
        loss=lambda: torch.add(*plain.losses(images, labels)),
        predict=predict,
    )


def _batch(spec: Spec, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Images (B, 3, H, W) as a pipeline would normalise them, labels (B,)."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(spec.batch, 3, *size, generator=generator)
    labels = torch.randint(spec.classes, (spec.batch,), generator=generator)
    return images.to(spec.device), labels.to(spec.device)


def training_step(contender: Contender, spec: Spec) -> Callable[[], None]:
    learned = [p for p in contender.module.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learned, lr=2e-3, momentum=0.9, weight_decay=0.01)
    forward = in_precision(spec, contender.loss)

    def step() -> None:
        forward().backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def in_precision(spec: Spec, run: Callable) -> Callable:
    """``run`` as in mixed precision; unchanged for fp32."""
    dtype = DTYPES[spec.precision]
    device = torch.device(spec.device).type
    return torch.autocast(device, dtype=dtype, enabled=dtype != torch.float32)(run)


def unit_features(contender: Contender, spec: Spec) -> tuple[Tensor, Tensor]:
    """Random patches (B, P, D) and text features (C, N, D) that ask for gradients."""
    num_patches, joint = contender.local_sizes
    patches = F.normalize(torch.randn(spec.batch, num_patches, joint), dim=-1)
    text = F.normalize(torch.randn(spec.classes, spec.local_prompts, joint), dim=-1)
    return patches.requires_grad_(), text.requires_grad_()
