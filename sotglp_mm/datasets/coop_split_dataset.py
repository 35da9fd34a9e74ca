"""The field's standard few-shot data: images, and one JSON with the train, val and test lists."""

import json
from collections.abc import Sequence
from pathlib import Path

from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS

from ..class_names import class_names_of_split
from ..settings import checked_settings


@DATASETS.register_module()
@checked_settings
class CoOpSplitDataset(BaseDataset):
    """Images in CoOp's layout, with its fixed split file.

    Labels and class names are those of the split file:
    ``{"train" | "val" | "test": [[relative path, label, class name], ...]}``.

    Args:
        data_root (str): Folder of the dataset, e.g. ``$DATA/dtd``.
        split_file (str): Below ``data_root``, e.g. ``split_zhou_DescribableTextures.json``.
        split (str): 'train', 'val' or 'test'. Defaults to 'train'.
        data_prefix (str): Folder of the images below ``data_root``. Defaults to 'images'.
        pipeline (Sequence): Transforms. Defaults to none.
        **kwargs: As in MMPretrain's ``BaseDataset``.

    Raises:
        FileNotFoundError: Data root, split file or an image does not exist.
        ValueError: The split file is not of this form, or lacks the split.
    """

    def __init__(
        self,
        data_root: str,
        split_file: str,
        split: str = 'train',
        data_prefix: str = 'images',
        pipeline: Sequence = (),
        **kwargs,
    ):
        self.split = split
        root = Path(data_root).expanduser()
        splits, classes = _read_split_file(root, split_file, data_prefix)
        if split not in splits:
            raise ValueError(
                f'{root / split_file} has no split {split!r}; it has {sorted(splits)}'
            )
        self._rows = splits[split]
        metainfo = {'classes': classes, **kwargs.pop('metainfo', {})}
        kwargs.setdefault('test_mode', split != 'train')
        super().__init__(
            ann_file=split_file,
            metainfo=metainfo,
            data_root=str(root),
            data_prefix=data_prefix,
            pipeline=pipeline,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """One ``dict(img_path, gt_label)`` for each row of the split, in its order."""
        folder = Path(self.img_prefix)
        found = [
            dict(img_path=str(folder / path), gt_label=label) for path, label, _ in self._rows
        ]
        missing = [info['img_path'] for info in found if not Path(info['img_path']).is_file()]
        if missing:
            raise FileNotFoundError(
                f'{len(missing)} of {len(found)} images of split {self.split!r} of '
                f'{self.ann_file} are missing, the first is {missing[0]}. Images are expected '
                f'below {folder}; set data_root and data_prefix, or complete the download.'
            )
        return found


def _read_split_file(
    root: Path, split_file: str, data_prefix: str
) -> tuple[dict[str, list], tuple[str, ...]]:
    if not root.is_dir():
        raise FileNotFoundError(
            f'data_root {root} does not exist; expected a folder with {split_file} and '
            f'the images in {data_prefix}/ (the layout of CoOp). Set data_root in the config.'
        )
    path = root / split_file
    if not path.is_file():
        raise FileNotFoundError(
            f'split file {path} does not exist; it belongs to the layout of CoOp, whose '
            'DATASETS.md says where to get it. Put it there, or set split_file.'
        )
    try:
        splits = json.loads(path.read_text(encoding='utf-8'))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f'split file {path} is not JSON: {error}') from error
    classes = class_names_of_split(splits, path)
    for rows in splits.values():
        for relative, *_ in rows:
            if Path(relative).is_absolute() or '..' in Path(relative).parts:
                raise ValueError(
                    f'split file {path} names {relative!r}; expected a path below {data_prefix}/'
                )
    return splits, classes
