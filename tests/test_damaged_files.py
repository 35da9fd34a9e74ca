"""Files that users bring, damaged: a reader names the file, or answers what the file says.

It never fails in the depths of a library, gives a wrong label, leaves the data's folder, runs code
in a pickle, or takes forever. ``--hypothesis-profile=long`` tries thousands of files a reader.
"""

import csv
import io
import json
import pickle
import signal
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from damaged import damaged
from hypothesis import given, settings
from mini_checkpoints import Payload, write_checkpoint
from PIL import Image
from safetensors.torch import save_file
from small_clip import CONFIG

from sotglp_mm.class_names.resolve import class_names_of_checkpoint, resolve_class_names
from sotglp_mm.clip.load import load_clip
from sotglp_mm.clip.weights import read_clip_weights
from sotglp_mm.datasets import (
    CoOpAircraftDataset,
    CoOpSplitDataset,
    LoadImageStrict,
    OwnImagesDataset,
)
from sotglp_mm.datasets.data_identity import samples_digest
from sotglp_mm.datasets.few_shot_dataset import read_few_shot_files
from sotglp_mm.engine import latest_checkpoint
from sotglp_mm.features import CachedFeatureDataset
from sotglp_mm.features.format import (
    FORMAT,
    cache_number,
    create_arrays,
    open_arrays,
    row_checksums,
    signed,
)

CLASSES = ('ant', 'bee', 'crab')
PICTURES = [
    (f'{name}/{n}.jpg', label, name) for label, name in enumerate(CLASSES) for n in range(4)
]
SECONDS = 5
LONGEST_MESSAGE = 2000


class Target(NamedTuple):
    """A reader."""

    file: str  # what is damaged, in the target's folder
    kind: str  # see damaged()
    prepare: Callable[[Path], None]  # writes the good files
    read: Callable[[Path], Any]  # reads them as a run does
    check: Callable[[Path, Any], None]  # judges an answer by plain json, csv, text or bytes
    cost: int = 1  # so many times longer it may take, and so many times fewer files it gets


def plain_lines(file: Path) -> list[str]:
    text = file.read_bytes().decode('utf-8-sig').replace('\r\n', '\n').replace('\r', '\n')
    return [line.strip() for line in text.split('\n') if line.strip()]


def plain_json(file: Path) -> Any:
    return json.loads(file.read_text(encoding='utf-8'))


def rows_of(dataset: Any) -> list[tuple[str, int, str]]:
    """What a dataset would train on: path, label and class name."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    names = dataset.metainfo['classes']
    return [(info['img_path'], info['gt_label'], names[info['gt_label']]) for info in infos]


def check_rows(folder: Path, rows: list[tuple], expected: list[tuple]) -> None:
    for path, label, name in rows:
        assert folder.resolve() in Path(path).resolve().parents, 'outside of the data'
        assert type(label) is int and isinstance(name, str)
    assert rows == expected


# lists of images


def prepare_lists(folder: Path) -> None:
    files = [f'images/{path}' for path, *_ in PICTURES] + [f'images/{n:03d}.jpg' for n in range(9)]
    for file in (*files, '../outside.jpg'):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    parts = dict(train=PICTURES[::2], val=PICTURES[1::4], test=PICTURES[3::4])
    (folder / 'split.json').write_text(json.dumps(parts))
    splits = ('train', 'test') * len(PICTURES)
    rows = [f'images/{path},{name},{split}' for (path, _, name), split in zip(PICTURES, splits)]
    (folder / 'own.csv').write_text('\n'.join(['path,label,split', *rows]) + '\n')
    (folder / 'variants.txt').write_text('\n'.join(CLASSES) + '\n')
    lines = [f'{number:03d} {CLASSES[number % 3]}' for number in range(9)]
    (folder / 'images_variant_train.txt').write_text('\n'.join(lines) + '\n')


def read_split(folder: Path) -> Any:
    names = resolve_class_names(str(folder / 'split.json'))
    return names, rows_of(CoOpSplitDataset(str(folder), 'split.json', 'train'))


def check_split(folder: Path, found: Any) -> None:
    names, rows = found
    listed = plain_json(folder / 'split.json')['train']
    expected = [(str(folder / 'images' / path), label, name) for path, label, name in listed]
    assert all(names[label] == name for _, label, name in rows)
    check_rows(folder / 'images', rows, expected)


def check_table(folder: Path, rows: Any) -> None:
    text = (folder / 'own.csv').read_bytes().decode('utf-8-sig')
    table = [
        (
            str(folder / row['path'].strip()),
            row['label'].strip(),
            row.get('split', 'train').strip(),
        )
        for row in csv.DictReader(io.StringIO(text, newline=''))
    ]
    table = list(dict.fromkeys(table))  # repeated lines count once
    names = sorted({name for _, name, _ in table})
    expected = [(path, names.index(n), n) for path, n, split in table if split == 'train']
    check_rows(folder, rows, expected)


def check_aircraft(folder: Path, rows: Any) -> None:
    variants = plain_lines(folder / 'variants.txt')
    pairs = [line.partition(' ') for line in plain_lines(folder / 'images_variant_train.txt')]
    images = folder / 'images'
    expected = [(str(images / f'{i}.jpg'), variants.index(name), name) for i, _, name in pairs]
    check_rows(images, rows, expected)


def list_target(file: str, kind: str, read: Callable, check: Callable) -> Target:
    return Target(file, kind, prepare_lists, read, check)


def read_aircraft(folder: Path) -> Any:
    return rows_of(CoOpAircraftDataset(str(folder), 'train'))


def check_names(folder: Path, names: Any) -> None:
    assert names == tuple(plain_lines(folder / 'variants.txt'))


# the record of a few-shot draw


def prepare_few_shot(folder: Path) -> None:
    folder.mkdir(parents=True)
    images = [[f'images/{name}/0.jpg', label] for label, name in enumerate(CLASSES)]
    record = dict(num_shots=1, seed=1, sampling='per_class', classes=list(CLASSES), images=images)
    record['sha256'] = samples_digest(images)
    (folder / 'few_shot_files.json').write_text(json.dumps(record, indent=1))


def check_few_shot(folder: Path, record: Any) -> None:
    assert record['images'] == [[f'images/{name}/0.jpg', i] for i, name in enumerate(CLASSES)]
    assert all(isinstance(name, str) for name in record['classes'])


# images


def prepare_images(folder: Path) -> None:
    folder.mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    for name in ('x.jpg', 'x.png'):
        Image.fromarray(pixels).save(folder / name)


def image_target(name: str) -> Target:
    def read(folder: Path) -> Any:
        return LoadImageStrict().transform(dict(img_path=str(folder / name)))

    return Target(name, 'binary', prepare_images, read, check_image)


def check_image(folder: Path, found: Any) -> None:
    image = found['img']
    assert (image.dtype, image.ndim, image.shape[2]) == (np.uint8, 3, 3)
    assert found['img_shape'] == image.shape[:2]


# stored features


def prepare_features(folder: Path) -> None:
    rows = [[f'{name}/{n}.jpg', label, 10] for label, name in enumerate(CLASSES) for n in (0, 1)]
    about = dict(views=2, num_images=len(rows), num_patches=4, width=3, dataset=dict(type='X'))
    about |= dict(classes=list(CLASSES), samples_sha256=samples_digest(rows))
    create_arrays(folder / 'train', about)
    (folder / 'train' / 'samples.json').write_text(json.dumps(rows))
    manifest = dict(format=FORMAT, backbone={}, data_preprocessor={}, splits=dict(train=about))
    manifest['made'] = dict(command='sotglp extract x.py', clip={}, by='0')
    (folder / 'manifest.json').write_text(json.dumps(signed(manifest), indent=1))
    arrays = open_arrays(folder / 'train', about, 'r+')
    arrays.patches[:], arrays.image[:], arrays.done[:] = 1, np.arange(6)[None, :, None], True
    number = cache_number(folder / 'train')
    for where in np.ndindex(2, len(rows)):
        arrays.crc[where] = row_checksums(arrays.patches[where], arrays.image[where], number)


def read_features(folder: Path) -> Any:
    dataset = CachedFeatureDataset(str(folder), 'train', view=1)
    items = [dataset[index] for index in range(len(dataset))]
    labels = [int(item['data_samples'].gt_label) for item in items]
    assert dataset.get_gt_labels().tolist() == labels
    return dataset.metainfo['classes'], labels, [item['inputs'] for item in items]


def check_features(folder: Path, found: Any) -> None:
    names, labels, inputs = found
    assert labels == [0, 0, 1, 1, 2, 2]
    assert len(names) > max(labels) and all(isinstance(name, str) for name in names)
    for part in ('patches', 'image'):
        plain = np.load(folder / 'train' / f'{part}.npy', allow_pickle=False)[1]
        ours = np.stack([getattr(each, part).numpy() for each in inputs])
        assert ours.dtype == plain.dtype
        np.testing.assert_array_equal(ours, plain)


def feature_target(file: str, kind: str = 'binary') -> Target:
    return Target(file, kind, prepare_features, read_features, check_features)


# checkpoints


def prepare_checkpoints(folder: Path) -> None:
    folder.mkdir(parents=True)
    meta = dict(epoch=1, iter=3, dataset_meta=dict(classes=list(CLASSES)))
    write_checkpoint(folder / 'epoch_1.pth', meta=meta)
    write_checkpoint(folder / 'epoch_2.pth', meta=dict(meta, epoch=2))
    (folder / 'last_checkpoint').write_text(str(folder / 'epoch_2.pth'))


def read_run(folder: Path) -> Any:
    """What is wrong with the damaged one is told in ``skipped``, and another is taken."""
    found = latest_checkpoint(folder)
    if found.path != folder / 'epoch_2.pth':
        raise ValueError(' '.join(found.skipped))
    names = class_names_of_checkpoint(found.path)
    return names, torch.load(found.path, weights_only=True)['state_dict']


def check_run(folder: Path, found: Any) -> None:
    names, weights = found
    assert names == CLASSES
    assert torch.equal(weights['head.global_prompts'], torch.arange(1000.0))


def read_note(folder: Path) -> Any:
    found = latest_checkpoint(folder)
    if found.skipped:
        raise ValueError(' '.join(found.skipped))
    return found.path


def check_note(folder: Path, path: Any) -> None:
    note = (folder / 'last_checkpoint').read_text(errors='replace').strip()
    assert path == folder / note.rsplit('/', 1)[-1]


# CLIP's weights and model config

STATE = {'positional_embedding': torch.arange(12.0).view(3, 4), 'logit_scale': torch.ones(())}


def prepare_weights(folder: Path) -> None:
    folder.mkdir(parents=True)
    torch.save(STATE, folder / 'clip.pt')
    save_file(STATE, folder / 'clip.safetensors')
    beside = dict(model_cfg=dict(embed_dim=4, quick_gelu=True), preprocess_cfg={})
    (folder / 'open_clip_config.json').write_text(json.dumps(beside))
    (folder / 'model.json').write_text(json.dumps(CONFIG))
    module = torch.nn.Module()  # an archive such as OpenAI's
    module.inner = torch.nn.Linear(3, 2)
    for name, value in STATE.items():
        module.register_parameter(name, torch.nn.Parameter(value))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # torch's own, of torch.jit
        torch.jit.script(module).save(folder / 'openai.pt')


def weights_target(file: str, kind: str, check: Callable, read: str = '') -> Target:
    def read_file(folder: Path) -> Any:
        return read_clip_weights(folder / (read or file))

    return Target(file, kind, prepare_weights, read_file, check)


def check_tensors(folder: Path, found: Any) -> None:
    """Numbers may be others, where those in the archive are; what is read are tensors."""
    assert all(isinstance(name, str) for name in found.state_dict)
    assert all(map(torch.is_tensor, found.state_dict.values()))


def check_pickled(folder: Path, found: Any) -> None:
    """The file has checksums: every number that is there must be right."""
    check_tensors(folder, found)
    for name, value in STATE.items():
        other = found.state_dict.get(name, value)
        assert other.shape != value.shape or torch.equal(other, value)


def check_safetensors(folder: Path, found: Any) -> None:
    """The format has no checksums: the bytes must be those of the file, as its header says."""
    data = (folder / 'clip.safetensors').read_bytes()
    body = 8 + int.from_bytes(data[:8], 'little')
    header = json.loads(data[8:body])
    header.pop('__metadata__', None)
    assert found.state_dict.keys() == header.keys()
    for name, value in found.state_dict.items():
        start, stop = header[name]['data_offsets']
        ours = value.reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        assert ours == data[body + start : body + stop]
        assert list(value.shape) == header[name]['shape']


def check_beside(folder: Path, found: Any) -> None:
    beside = plain_json(folder / 'open_clip_config.json')
    assert found.quick_gelu is beside['model_cfg'].get('quick_gelu', False)
    assert found.state_dict.keys() == STATE.keys()
    assert all(torch.equal(found.state_dict[name], STATE[name]) for name in STATE)


def read_model(folder: Path) -> Any:
    return load_clip(str(folder / 'model.json')).clip.state_dict()


def check_model(folder: Path, state: Any) -> None:
    config = plain_json(folder / 'model.json')
    vision, text, both = config['vision_cfg'], config['text_cfg'], config['embed_dim']
    width, patch = vision.get('width', 768), vision.get('patch_size', 16)
    words = text.get('width', 512)
    expected = {
        'visual.conv1.weight': (width, 3, patch, patch),
        'visual.proj': (width, both),
        'token_embedding.weight': (text.get('vocab_size', 49408), words),
        'positional_embedding': (text.get('context_length', 77), words),
        'text_projection': (words, both),
    }
    assert {name: tuple(state[name].shape) for name in expected} == expected


TARGETS = {
    'split file': list_target('split.json', 'json', read_split, check_split),
    'table': list_target(
        'own.csv',
        'text',
        lambda folder: rows_of(OwnImagesDataset(str(folder / 'own.csv'), 'train')),
        check_table,
    ),
    'list': list_target('images_variant_train.txt', 'text', read_aircraft, check_aircraft),
    'variants': list_target('variants.txt', 'text', read_aircraft, check_aircraft),
    'names': list_target(
        'variants.txt',
        'text',
        lambda folder: resolve_class_names(str(folder / 'variants.txt')),
        check_names,
    ),
    'few-shot file': Target(
        'few_shot_files.json',
        'json',
        prepare_few_shot,
        lambda folder: read_few_shot_files(folder / 'few_shot_files.json'),
        check_few_shot,
    ),
    'JPEG': image_target('x.jpg'),
    'PNG': image_target('x.png'),
    'manifest': feature_target('manifest.json', 'json'),
    'samples': feature_target('train/samples.json', 'json'),
    'features': feature_target('train/image.npy'),
    'patches': feature_target('train/patches.npy'),
    'done': feature_target('train/done.npy'),
    'checkpoint': Target('epoch_2.pth', 'binary', prepare_checkpoints, read_run, check_run),
    'note': Target('last_checkpoint', 'text', prepare_checkpoints, read_note, check_note),
    'weights': weights_target('clip.pt', 'binary', check_pickled),
    'torchscript': weights_target('openai.pt', 'archive', check_tensors),
    'safetensors': weights_target('clip.safetensors', 'binary', check_safetensors),
    'config beside': weights_target('open_clip_config.json', 'json', check_beside, 'clip.pt'),
    # open_clip's default sizes are large
    'model config': Target('model.json', 'json', prepare_weights, read_model, check_model, cost=4),
}


class TookTooLong(BaseException):
    """No ``except Exception`` of a reader may swallow it."""


def stop(signum: int, frame: object) -> None:
    raise TookTooLong


@pytest.fixture(autouse=True)
def alarm():
    before = signal.signal(signal.SIGALRM, stop)
    yield
    signal.signal(signal.SIGALRM, before)


def judge(target: Target, folder: Path) -> None:
    """Fail unless a reader names the file or is right."""
    # again and again: Python ignores an exception in a callback of its garbage collector
    signal.setitimer(signal.ITIMER_REAL, SECONDS * target.cost, 0.5)
    try:
        found = target.read(folder)
    except (ValueError, FileNotFoundError) as error:
        assert type(error) not in (UnicodeDecodeError, UnicodeEncodeError)
        named = Path(target.file).name in str(error) or str(folder) in str(error)
        assert named and len(str(error)) <= LONGEST_MESSAGE, error
        return
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    target.check(folder, found)


@pytest.mark.filterwarnings('ignore')  # of Pillow, about what it still could read
@pytest.mark.parametrize('name', TARGETS)
def test_damage_is_named_or_does_not_matter(tmp_path: Path, name: str):
    target, folder = TARGETS[name], tmp_path / 'data'
    target.prepare(folder)
    file = folder / target.file
    good = file.read_bytes()
    target.check(folder, target.read(folder))

    @settings(max_examples=max(settings().max_examples // target.cost, 1))
    @given(damaged(good, target.kind))
    def try_file(data: bytes):
        file.write_bytes(data)
        judge(target, folder)

    try_file()


@pytest.mark.parametrize('name', ['checkpoint', 'weights', 'features'])
def test_code_in_a_pickle_never_runs(tmp_path: Path, name: str):
    folder, canary = tmp_path / 'data', tmp_path / 'canary'
    TARGETS[name].prepare(folder)
    if name == 'checkpoint':
        torch.save(dict(state_dict={}, meta=Payload(canary)), folder / 'epoch_2.pth')
        (folder / 'epoch_1.pth').write_bytes(pickle.dumps(Payload(canary)))
    elif name == 'weights':
        torch.save(dict(STATE, more=Payload(canary)), folder / 'clip.pt')
    else:
        array = np.array([Payload(canary)] * 12, dtype=object).reshape(2, 6)
        np.save(folder / 'train' / 'done.npy', array, allow_pickle=True)
    with pytest.raises((ValueError, FileNotFoundError)):
        TARGETS[name].read(folder)
    assert not canary.exists()
