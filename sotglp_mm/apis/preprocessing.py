"""How the test pipeline prepares an image, in words for a program without MMPretrain."""

from typing import Any

from mmengine.config import Config
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import TRANSFORMS

from .inference import image_pipeline

EXPECTED = (
    "LoadImageStrict, ResizeEdge(edge='short', backend='pillow'), Resize(backend='pillow'), "
    'CenterCrop and PackInputs'
)


def describe_preprocessing(cfg: Config, preprocessor: ClsDataPreprocessor) -> dict[str, Any]:
    """From a decoded picture to the model's input.

    Returns:
        dict: ``exif_orientation`` (whether the picture is turned as its EXIF tag says),
        ``steps``, in order, each ``{'resize_short_edge': pixels, 'interpolation': name}``,
        ``{'resize': [width, height], 'interpolation': name}`` or
        ``{'center_crop': [width, height]}``, all of Pillow; then ``channels`` ('RGB' or 'BGR'),
        from whose values of 0 to 255 ``mean`` is taken away before a division by ``std``.

    Raises:
        ValueError: A step of the pipeline is none of these.
    """
    load, *others = image_pipeline(cfg)
    if load['type'] != 'LoadImageStrict':
        raise ValueError(_cannot(load))
    steps = [_describe(step) for step in others if step['type'] != 'PackInputs']
    channels = 'BGR' if not preprocessor.to_rgb else 'RGB'
    mean, std = [0.0] * 3, [1.0] * 3
    if preprocessor._enable_normalize:
        mean, std = (each.flatten().tolist() for each in (preprocessor.mean, preprocessor.std))
    return dict(
        exif_orientation=not load.get('color_type', 'color').endswith('ignore_orientation'),
        steps=steps,
        channels=channels,
        mean=mean,
        std=std,
    )


def _describe(step: dict) -> dict[str, Any]:
    built = TRANSFORMS.build(dict(step))
    kind = step['type']
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
        f'{EXPECTED}. Take such steps, or prepare the images before'
    )
