"""Loading an image, with an error that names the file."""

from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import TRANSFORMS
from PIL import Image, ImageOps, UnidentifiedImageError

from ..utils.settings import checked_settings

DEEP_FORMATS = ('.png', '.tif', '.tiff', '.pgm', '.jp2')
"""Files that may hold more than 8 bits a channel."""


@TRANSFORMS.register_module()
@checked_settings
class LoadImageStrict(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile``, decoding with Pillow as CLIP does, and never skipping.

    Every kind of picture becomes RGB as in ``Image.convert('RGB')``, turned as its EXIF tag says;
    transparency is dropped, except that a grey image with alpha is laid on a grey ground (MMCV's
    choice). Grey of 16 bits is scaled to 8, where Pillow would cut off all above 255; grey of 32
    bits is too, unless all of it is within 0-255.

    An item that has its image already (a generated one, or from MMPretrain's inferencer, which
    loads images itself) is left as it is.

    Args:
        imdecode_backend (str): Defaults to 'pillow'.
        **kwargs: As in ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: The image does not exist.
        ValueError: It cannot be decoded.
    """

    def __init__(self, imdecode_backend: str = 'pillow', **kwargs: Any) -> None:
        super().__init__(imdecode_backend=imdecode_backend, **kwargs)

    def transform(self, results: dict) -> dict:
        """Adds ``img`` (H, W, 3) BGR uint8, ``img_shape`` and ``ori_shape``."""
        if 'img' in results and 'img_path' not in results:
            return results
        path = results['img_path']
        try:
            results = super().transform(results)
            if self.imdecode_backend == 'pillow' and str(path).lower().endswith(DEEP_FORMATS):
                _scale_sixteen_bits(path, results)
            return results
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'image {path} does not exist; check data_root, or what moved it since the start'
            ) from error
        except Exception as error:  # decoders raise whatever they like
            # Pillow's "cannot identify" names a buffer in memory, which tells nobody anything
            told = '' if isinstance(error, UnidentifiedImageError) else f': {error}'
            raise ValueError(
                f'image {path} cannot be decoded ({type(error).__name__}{told}); expected a '
                'JPEG, PNG or other picture. Replace the file, or take it out of the split.'
            ) from error


def _scale_sixteen_bits(path: str, results: dict) -> None:
    """Replace ``img`` of a 16-bit grey file; of any other file only the header is read."""
    if '://' in str(path):  # another storage: Pillow cannot look into it by itself
        return
    with Image.open(path) as image:
        if not image.mode.startswith('I'):  # 'I;16', 'I;16B', and 'I' in Pillow before 11
            return
        levels = np.asarray(ImageOps.exif_transpose(image)).astype(np.int64)
        # 32 bits a pixel say nothing of the range: numbers up to 255 are 8-bit grey
        has_small_range = image.mode == 'I' and levels.max() <= 255
    grey = np.clip(levels if has_small_range else levels >> 8, 0, 255)[..., None].repeat(
        3, axis=-1
    )
    results['img'] = grey.astype(results['img'].dtype)
