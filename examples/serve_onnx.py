"""Classify images with a file of ``sotglp export``; needs NumPy, Pillow and onnxruntime alone.

python examples/serve_onnx.py classifier.onnx photo.jpg more/*.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps


def load(path: str, how: dict) -> np.ndarray:
    """A picture as the model takes it: float32 (3, H, W)."""
    image: Image.Image = Image.open(path)
    if image.mode[0] in 'IF' or image.mode == 'LA':
        raise ValueError(f'{path} is a picture of mode {image.mode}; convert it to RGB first')
    image = (ImageOps.exif_transpose(image) if how['exif_orientation'] else image).convert('RGB')
    for step in how['steps']:
        width, height = image.size
        if 'center_crop' in step:
            crop_w, crop_h = step['center_crop']
            left, top = round((width - crop_w) / 2), round((height - crop_h) / 2)
            image = image.crop((left, top, left + crop_w, top + crop_h))
            continue
        size = step.get('resize')
        if not size:
            short = step['resize_short_edge']
            size = [int(short * edge / min(width, height)) for edge in (width, height)]
        image = image.resize(size, Image.Resampling[step['interpolation'].upper()])
    pixels = np.asarray(image, np.float32)[..., :: 1 if how['channels'] == 'RGB' else -1]
    return ((pixels - np.float32(how['mean'])) / np.float32(how['std'])).transpose(2, 0, 1)


def main(model: str, *paths: str) -> None:
    """Print the most probable class of each picture, its probability, and the OOD scores."""
    session = onnxruntime.InferenceSession(model, providers=['CPUExecutionProvider'])
    about = json.loads(session.get_modelmeta().custom_metadata_map['sotglp_mm'])
    names = [output.name for output in session.get_outputs()]
    for path in paths:
        images = load(path, about['preprocessing'])[None]  # any number of them at once
        outputs = dict(zip(names, session.run(names, {'images': images})))
        best = outputs['pred_score'][0].argmax()
        scores = []
        for name, ood in about['ood'].items():
            scores.append(f'{name} {outputs[name][0]}')
            if ood['threshold'] is not None:
                scores.append('known' if outputs[name][0] <= ood['threshold'] else 'unknown')
        label, probability = about['class_names'][best], outputs['pred_score'][0, best]
        print('\t'.join([path, label, f'{probability:.4f}', *scores]))


if __name__ == '__main__':
    main(*sys.argv[1:])
