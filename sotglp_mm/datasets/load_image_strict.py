"""Loading an image, with an error that names the file."""

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageOps, UnidentifiedImageError

from ..utils.settings import checked_settings


@TRANSFORMS.register_module()
@checked_settings
class LoadImageStrict(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile``, decoding with Pillow as CLIP does, and never skipping.

    Every kind of picture becomes RGB as in ``Image.convert('RGB')``, turned as its EXIF tag says;
    transparency is dropped, except that a grey image with alpha is laid on a grey ground (MMCV's
    choice). Grey of 16 bits, 32 bits and floats may hold 0 to 1 (floats), 0 to 255 or 0 to 65535,
    and is scaled by which; Pillow would cut off all above 255.

    An item that has its image already (a generated one, or from MMPretrain's inferencer, which
    loads images itself) is left as it is.

    Args:
        color_type (str): As in ``LoadImageFromFile``; 'color_ignore_orientation' leaves the EXIF
            tag alone. Defaults to 'color'.
        **kwargs: As in ``LoadImageFromFile``; ``imdecode_backend`` is 'pillow'.

    Raises:
        ValueError: An image cannot be decoded, is no file, or holds values of no known range.
    """

    def __init__(self, imdecode_backend: str = 'pillow', **kwargs: Any) -> None:
        super().__init__(imdecode_backend=imdecode_backend, **kwargs)

    def transform(self, results: dict) -> dict:
        """Adds ``img`` (H, W, 3) BGR uint8, ``img_shape`` and ``ori_shape``."""
        if 'img' in results and 'img_path' not in results:
            return results
        path = results['img_path']
        try:
            grey = self._deep_grey(path) if self.imdecode_backend == 'pillow' else None
            if grey is None:
                return super().transform(results)
            image = grey[..., None].repeat(3, axis=-1)
            results['img'] = image.astype(np.float32) if self.to_float32 else image
            results['img_shape'] = results['ori_shape'] = image.shape[:2]
            return results
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'image {path} does not exist; check data_root, or what moved it since the start'
            ) from error
        except Exception as error:  # decoders raise whatever they like
            # Pillow's "cannot identify" names a buffer in memory, which says nothing to a user
            detail = '' if isinstance(error, UnidentifiedImageError) else f': {error}'
            raise ValueError(
                f'image {path} cannot be decoded ({type(error).__name__}{detail}); expected a '
                'JPEG, PNG or other picture. Replace the file, or take it out of the split.'
            ) from error

    def _deep_grey(self, path: str) -> np.ndarray | None:
        """(H, W) uint8 of a grey image of more than 8 bits; None of all others."""
        if '://' in str(path):  # another storage: Pillow cannot look into it by itself
            return None
        if Path(path).exists() and not Path(path).is_file():
            raise OSError('it is a folder, a pipe or a device')  # opening a pipe would wait
        with Image.open(path) as image:
            if not image.mode.startswith(('I', 'F')):
                return None
            if not self.color_type.endswith('ignore_orientation'):
                ImageOps.exif_transpose(image, in_place=True)
            return _eight_bits(np.asarray(image))


def _eight_bits(levels: np.ndarray) -> np.ndarray:
    """Scaled by the range; uint8 of the same shape."""
    low, high = levels.min(), levels.max()
    if not (low >= 0 and high <= 65535):  # also NaN
        raise ValueError(
            f'its values go from {low} to {high}, expected 0 to 1, 0 to 255 or 0 to 65535'
        )
    if levels.dtype.kind == 'f' and high <= 1:
        return np.rint(levels * 255).astype(np.uint8)
    if high <= 255:
        return levels.astype(np.uint8)
    # of whole numbers: an array of floats would need several times the memory
    return (levels / 256 if levels.dtype.kind == 'f' else levels >> 8).astype(np.uint8)
