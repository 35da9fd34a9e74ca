"""Write a trained model to one file for deployment: ``sotglp export CONFIG CHECKPOINT OUT``."""

import importlib
import io
import json
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmpretrain.models import ClsDataPreprocessor, ImageClassifier
from mmpretrain.registry import DATASETS, MODELS, TRANSFORMS
from torch import Tensor
from torch.export import ExportedProgram

from ..functional import OOD_FIELDS, tempered
from ..io.files import check_writable, write_atomically
from ..models import SOTGLPHead
from ..models.exported_classifier import ExportedClassifier
from ..version import __version__
from .calibration import calibration_for, set_ood_score, with_rounding
from .config import load_config
from .inference import image_pipeline, load_inferencer

SUFFIXES = {'onnx': '.onnx', 'torch-export': '.pt2'}

BATCH_SIZES = (1, 3, 8)
"""Of the images that an exported file is checked on."""

TOLERANCE = 1e-4
"""Largest difference from the model: of probabilities, and of the cosines behind OOD scores."""

MAX_ONNX_BYTES = 2**31
"""What a file of protobuf can hold."""

METADATA = 'sotglp_mm'
"""Key of the metadata of an .onnx file, name of the extra file in a .pt2; its value is JSON."""

Outputs = dict[str, np.ndarray]
Program = Callable[[Tensor], Outputs]  # of normalised images (B, 3, H, W)

STEPS = (
    "LoadImageStrict, ResizeEdge(edge='short', backend='pillow'), Resize(backend='pillow'), "
    'CenterCrop and PackInputs'
)
"""Of a test pipeline that can be told to a program without MMPretrain."""


class CheckImages(NamedTuple):
    """What an exported file is checked on."""

    images: Tensor  # (B, 3, H, W), normalised, of all batches
    source: str


class Exported(NamedTuple):
    """A file before it is one."""

    content: bytes
    opset: int | None
    run: Program


def export(
    config: str | Path,
    checkpoint: str | Path | None,
    out: str | Path,
    *,
    format: str = 'onnx',
    data: str | Path | None = None,
    cfg_options: dict | None = None,
) -> dict[str, Any]:
    """Export, as ``sotglp export`` does with flags of these names.

    The file takes ``images`` (B, 3, H, W), normalised, any B. It gives class probabilities
    ``pred_score``, ``pred_score_global`` and, with local prompts, ``pred_score_local`` (B, C),
    and the OOD scores of ``model.head.ood_methods``, ``ood_<method>``; without any, the one that
    ``sotglp predict`` takes. Text features are constants in it. Its metadata say how an image is
    prepared, and the class names. It is written only if it agrees with the model on images of the
    config's test set (``data`` is its ``$DATA``), or, where that is not there, of the demo.

    Args:
        checkpoint: Its class names count. None: a config that learns nothing.
        out: The file, .onnx or, for ``format='torch-export'`` (``torch.export.load``), .pt2.

    Returns:
        dict: ``file``, ``bytes``, ``opset`` (None of a .pt2), ``outputs``, ``images`` (what the
        check took) and ``difference``, the largest, see :data:`TOLERANCE`.

    Raises:
        ValueError: The model cannot be exported.
        ImportError: The packages for ONNX are missing.
        RuntimeError: The exported program does not agree with the model.
    """
    out = Path(out)
    if out.suffix != SUFFIXES[format]:
        raise ValueError(f'{out}: --format {format} writes a file that ends in {SUFFIXES[format]}')
    check_writable(out, 'OUT')
    if format == 'onnx':
        _check_packages()
    cfg = load_config(config, cfg_options, checkpoint=checkpoint, data=data)
    model = _load_model(cfg, checkpoint)
    kept = calibration_for(cfg, checkpoint)
    checked = check_images(cfg, model)
    classifier = ExportedClassifier(model, kept['temperature']).eval()
    metadata = json.dumps(describe(model, cfg, kept), ensure_ascii=False)
    expected = predictions(model, checked.images, classifier)
    program = trace(classifier, checked.images)
    exporter = to_onnx if format == 'onnx' else to_pt2
    exported = exporter(program, classifier.output_names, metadata)
    outputs = [exported.run(batch) for batch in checked.images.split(BATCH_SIZES)]
    difference = largest_difference(outputs, expected, model.head.ood_tau)
    if not difference <= TOLERANCE:  # NaN, too
        raise RuntimeError(
            f'the exported program differs from the model by {difference:.2g} on '
            f'{checked.source}; expected at most {TOLERANCE:g}. {out} was not written. Another '
            'version of torch, onnxscript or onnxruntime may do better'
        )
    write_atomically(out, exported.content, 'Choose another OUT')
    report = dict(
        file=str(out),
        bytes=len(exported.content),
        opset=exported.opset,
        outputs=list(classifier.output_names),
        images=checked.source,
        difference=difference,
    )
    opset = f', opset {exported.opset}' if exported.opset else ''
    print(
        f'{out}: {len(exported.content) / 1e6:.1f} MB{opset}\n'
        f'outputs: {", ".join(classifier.output_names)}\n'
        f'checked on {checked.source}, in batches of {", ".join(map(str, BATCH_SIZES))}: '
        f'largest difference {difference:.1g}'
    )
    return report


def _load_model(cfg: Config, checkpoint: str | Path | None) -> ImageClassifier:
    """On the CPU; ``ValueError`` if a part of it cannot be exported."""
    head = cfg.model.head
    if not issubclass(MODELS.get(head.type), SOTGLPHead):
        raise ValueError(
            f'the model cannot be exported: its head is {head.type}, and only the prompts of '
            'SOTGLPHead can be made constants. Take a config with that head'
        )
    if not head.get('ood_methods'):
        set_ood_score(cfg)
    model = load_inferencer(cfg, checkpoint, device='cpu').model
    if model.head.local_prompts is not None and getattr(model.head.local_loss, 'tolerance', None):
        raise ValueError(
            'the model cannot be exported: its head.local_loss '
            f'({type(model.head.local_loss).__name__}) stops at a tolerance, and an exported '
            'program makes a fixed number of iterations. Set model.head.local_loss.tolerance=None'
        )
    return model


def check_images(cfg: Config, model: ImageClassifier) -> CheckImages:
    """Normalised images of the config's test set; of the demo, where that is not there."""
    number = sum(BATCH_SIZES)
    try:
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        source = f'{number} images of the test set'
    except (OSError, ValueError) as error:
        demo = dict(type='DemoScenesDataset', split='test', pipeline=image_pipeline(cfg))
        dataset = DATASETS.build(demo)
        source = f"{number} of the demo's images (the test set is not there: {error})"
    # spread over the set: neighbours are of one class
    indices = np.linspace(0, len(dataset) - 1, number).astype(int)
    inputs = [dataset[int(index)]['inputs'] for index in indices]
    return CheckImages(model.data_preprocessor(dict(inputs=inputs))['inputs'], source)


def describe(model: ImageClassifier, cfg: Config, kept: dict) -> dict[str, Any]:
    """The metadata of an exported file; ``kept`` is of :func:`calibrate`."""
    head = model.head
    identity = head.towers.identity
    ood: dict[str, dict] = {}
    chosen = kept['ood']
    for method in head.ood_methods:
        limit = None
        if chosen and chosen['method'] == method:
            limit = with_rounding(chosen['threshold'], chosen['tau'])
        ood[OOD_FIELDS[method]] = dict(temperature=head.ood_tau, threshold=limit)
    return dict(
        sotglp_mm=__version__,
        class_names=list(head.class_names),
        preprocessing=describe_preprocessing(cfg, model.data_preprocessor),
        temperature=kept['temperature'],
        ood=ood,
        clip={key: identity[key] for key in ('model_name', 'quick_gelu', 'weights_sha256')},
    )


def describe_preprocessing(cfg: Config, preprocessor: ClsDataPreprocessor) -> dict[str, Any]:
    """From a decoded picture to the model's input.

    Returns:
        dict: ``exif_orientation`` (whether the picture is turned as its EXIF tag says),
        ``steps``, in order, each ``{'resize_short_edge': pixels, 'interpolation': name}``,
        ``{'resize': [width, height], 'interpolation': name}`` or
        ``{'center_crop': [width, height]}``, all of Pillow; then ``channels`` ('RGB' or 'BGR'),
        from whose values of 0 to 255 ``mean`` is taken away before a division by ``std``.
    """
    load, *others = image_pipeline(cfg)
    steps = [_describe_step(step) for step in others if step['type'] != 'PackInputs']
    if load['type'] != 'LoadImageStrict':
        raise ValueError(_cannot(load))
    mean, std = [0.0] * 3, [1.0] * 3
    if preprocessor._enable_normalize:
        mean, std = (each.flatten().tolist() for each in (preprocessor.mean, preprocessor.std))
    return dict(
        exif_orientation=not load.get('color_type', 'color').endswith('ignore_orientation'),
        steps=steps,
        channels='RGB' if preprocessor.to_rgb else 'BGR',
        mean=mean,
        std=std,
    )


def _describe_step(step: dict) -> dict[str, Any]:
    built, kind = TRANSFORMS.build(dict(step)), step['type']
    if kind == 'CenterCrop' and not built.auto_pad:
        return dict(center_crop=list(built.crop_size))
    if getattr(built, 'backend', None) == 'pillow':
        if kind == 'ResizeEdge' and built.edge == 'short':
            return dict(resize_short_edge=built.scale, interpolation=built.interpolation)
        if kind == 'Resize' and built.scale and not built.keep_ratio:
            return dict(resize=list(built.scale), interpolation=built.interpolation)
    raise ValueError(_cannot(step))


def _cannot(step: dict) -> str:
    return (
        f"the test pipeline's step {dict(step)} cannot be written into the file; expected "
        f'{STEPS}. Take such steps, or prepare the images before'
    )


def trace(classifier: ExportedClassifier, images: Tensor) -> ExportedProgram:
    """A program for any batch size; ``ValueError`` names the part that cannot be traced."""
    batch = torch.export.Dim('batch', max=2**31)  # torch 2.6 wants a bound
    try:
        with torch.no_grad():
            program = torch.export.export(
                classifier, (images[:2],), dynamic_shapes={'images': {0: batch}}, strict=False
            )
    except Exception as error:  # whatever its code runs into
        reason = ' '.join(str(error).split())[:400]
        raise ValueError(
            f'the model cannot be exported: {_part_of(error, classifier)} does what torch.export '
            f'cannot follow ({type(error).__name__}: {reason})'
        ) from error
    for node in program.graph.nodes:  # the file would name folders of this machine
        node.meta.pop('stack_trace', None)
    return program


def _part_of(error: BaseException, classifier: ExportedClassifier) -> str:
    """The innermost part of the model that ran."""
    names = {id(part): name for name, part in classifier.named_modules() if name}
    found = 'a part of it'
    for frame, _ in traceback.walk_tb(error.__traceback__):
        part = frame.f_locals.get('self')
        if id(part) in names:
            found = f'{names[id(part)]} ({type(part).__name__})'
    return found


def to_onnx(program: ExportedProgram, outputs: tuple[str, ...], metadata: str) -> Exported:
    """An ONNX file, run by ONNX Runtime."""
    import onnxruntime

    size = sum(each.nbytes for each in program.state_dict.values())
    if size >= MAX_ONNX_BYTES:
        raise ValueError(
            f'the model has {size / 1e9:.1f} GB, and an .onnx file holds less than '
            f'{MAX_ONNX_BYTES / 1e9:.1f}; take --format torch-export'
        )
    try:
        made: Any = torch.onnx.export(
            program,
            (),
            input_names=['images'],
            output_names=list(outputs),
            dynamic_shapes={'images': {0: 'batch'}},
            dynamo=True,
            verbose=False,
        )
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(
            f'torch.onnx of torch {torch.__version__} cannot convert the model; torch 2.14 can. '
            'Take a newer torch, or --format torch-export'
        ) from error
    made.model.metadata_props[METADATA] = metadata
    content = made.model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])

    def run(images: Tensor) -> Outputs:
        return dict(zip(outputs, session.run(list(outputs), {'images': images.numpy()})))

    return Exported(content, made.model.opset_imports[''], run)


def to_pt2(program: ExportedProgram, outputs: tuple[str, ...], metadata: str) -> Exported:
    """A file for ``torch.export.load``, read again."""
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={METADATA: metadata})
    content = file.getvalue()
    module = torch.export.load(io.BytesIO(content)).module()

    def run(images: Tensor) -> Outputs:
        return {name: each.detach().numpy() for name, each in zip(outputs, module(images))}

    return Exported(content, None, run)


@torch.no_grad()
def predictions(
    model: ImageClassifier, images: Tensor, classifier: ExportedClassifier
) -> list[Outputs]:
    """What ``sotglp predict`` says of each batch of :data:`BATCH_SIZES`."""
    found = []
    for batch in images.split(BATCH_SIZES):
        samples = model.predict(batch)
        for sample in samples:
            sample.pred_score = tempered(sample.pred_score, classifier.temperature)
        found.append(
            {
                name: torch.stack([sample.get(name) for sample in samples]).numpy()
                for name in classifier.output_names
            }
        )
    return found


def largest_difference(
    outputs: Sequence[Outputs], expected: Sequence[Outputs], ood_tau: float | tuple[float, ...]
) -> float:
    """Of the program and the model; NaN if one of them has any."""
    found = []
    for ours, theirs in zip(outputs, expected):
        for name, values in theirs.items():
            difference = np.abs(ours[name] - values)
            if name in OOD_FIELDS.values():
                # in units of a cosine: at a high temperature all scores are nearly equal
                difference = difference / np.abs(values) * np.array(ood_tau)
            found.append(difference.max())
    return float(np.max(found))


def _check_packages() -> None:
    try:
        for name in ('onnx', 'onnxruntime', 'onnxscript'):
            importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f'{error}; for an .onnx file: pip install onnx onnxscript onnxruntime. Or take '
            '--format torch-export'
        ) from error
