"""Loading an image, with an error that names the file."""

from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import TRANSFORMS

from ..settings import checked_settings


@TRANSFORMS.register_module()
@checked_settings
class LoadImageStrict(LoadImageFromFile):
    """MMCV's ``LoadImageFromFile``, decoding with Pillow as CLIP does, and never skipping.

    Args:
        imdecode_backend (str): Defaults to 'pillow'.
        **kwargs: As in ``LoadImageFromFile``.

    Raises:
        FileNotFoundError: The image does not exist.
        ValueError: It cannot be decoded.
    """

    def __init__(self, imdecode_backend: str = 'pillow', **kwargs):
        super().__init__(imdecode_backend=imdecode_backend, **kwargs)

    def transform(self, results: dict) -> dict:
        """Adds ``img`` (H, W, 3) BGR uint8, ``img_shape`` and ``ori_shape``."""
        path = results['img_path']
        try:
            return super().transform(results)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f'image {path} does not exist; check data_root, or what moved it since the start'
            ) from error
        except Exception as error:  # decoders raise whatever they like
            raise ValueError(
                f'image {path} cannot be decoded ({type(error).__name__}: {error}); expected a '
                'JPEG, PNG or other picture. Replace the file, or take it out of the split.'
            ) from error
