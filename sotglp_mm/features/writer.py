"""Running a frozen tower over the views of a dataset, and writing what it says to disk."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import default_collate
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ..datasets.data_identity import label_of
from .format import SplitArrays, cache_number, damaged_array, open_arrays, row_checksums


class PendingViews(Dataset):
    """The (view, image) pairs that are not done; each one is seeded by what it is.

    So a view does not depend on the workers, on the batch size, or on where a run was killed.
    """

    def __init__(self, dataset: Any, done: np.ndarray, seed: int):
        self.dataset = dataset
        self.seed = seed
        self.pending = np.argwhere(~done)

    def __len__(self) -> int:
        return len(self.pending)

    def __getitem__(self, position: int) -> dict:
        view, index = map(int, self.pending[position])
        seed = int(np.random.SeedSequence([self.seed, view, index]).generate_state(1)[0])
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        item = self.dataset[index]
        label = int(item['data_samples'].gt_label)
        expected = label_of(self.dataset.get_data_info(index), self.dataset)
        if label != expected:
            raise ValueError(
                f'image {index} of {type(self.dataset).__name__} came with label {label}, its '
                f'annotation says {expected}: was it replaced by another, or its label changed?'
            )
        return dict(inputs=item['inputs'], view=view, index=index)


def forget_damaged(folder: Path, about: dict) -> int:
    """Take the mark off features that are not as they were written; how many there were.

    Reads the whole split.
    """
    arrays, number = open_arrays(folder, about), cache_number(folder)
    pairs = np.argwhere(arrays.done).tolist()
    checked = tqdm(pairs, desc=f'{folder.name}, checking', unit='view', disable=not pairs)
    damaged = [(view, i) for view, i in checked if damaged_array(arrays, view, i, number)]
    if damaged:
        done = open_arrays(folder, about, mode='r+').done
        done[tuple(np.transpose(damaged))] = False
        done.flush()
    return len(damaged)


def write_features(
    model: dict, dataset: Any, folder: Path, about: dict, batch_size: int, workers: int
) -> None:
    """Fill the arrays of a split, which exist; what is done already is left as it is.

    ``model`` is of :func:`build_model`, ``about`` the split's entry of the manifest.
    """
    arrays = open_arrays(folder, about, mode='r+')
    views = PendingViews(dataset, np.array(arrays.done), about['seed'])
    number = cache_number(folder)
    loader = DataLoader(views, batch_size, num_workers=workers, collate_fn=default_collate)
    total = arrays.done.size
    with tqdm(total=total, initial=total - len(views), desc=folder.name, unit='view') as bar:
        for batch in loader:
            _write(arrays, model, batch, number)
            bar.update(len(batch['index']))


@torch.inference_mode()
def _write(arrays: SplitArrays, model: dict, batch: dict, number: int) -> None:
    images = model['data_preprocessor'](dict(inputs=batch['inputs']))['inputs']
    features = model['backbone'](images)
    where = (batch['view'].numpy(), batch['index'].numpy())
    patches, image = _half(features.patches, batch), _half(features.image, batch)
    arrays.patches[where], arrays.image[where] = patches, image
    arrays.crc[where] = [row_checksums(*row, number) for row in zip(patches, image)]
    for array in arrays[:3]:  # what is marked as done is on the disk before the mark is
        array.flush()
    arrays.done[where] = True
    arrays.done.flush()


def _half(features: torch.Tensor, batch: dict) -> np.ndarray:
    half = features.half()
    usable = half.isfinite().flatten(1).all(dim=1)
    if not usable.all():
        first = int((~usable).nonzero()[0, 0])
        raise ValueError(
            f'image {int(batch["index"][first])}, view {int(batch["view"][first])}: a feature '
            f'does not fit into float16 (largest {float(features[first].abs().max()):.3g}). The '
            'weights or the image are damaged, or this CLIP cannot be cached.'
        )
    return half.cpu().numpy()
