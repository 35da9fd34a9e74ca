"""Extract, train from what was extracted, and do it beside the uncached run."""

import errno
import functools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_runs import REPO, STRAIGHT, VIEWS, extract, run_tool
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from sotglp_mm import apis
from sotglp_mm.features.derived_config import derived_configs
from sotglp_mm.features.format import open_arrays, read_manifest
from sotglp_mm.features.manifest import settle_manifest, splits_of
from sotglp_mm.features.writer import PendingViews, _half

tool = sys.modules['sotglp_mm.apis.extract']  # the package has the function of that name
ACCURACIES = ('accuracy/top1', 'accuracy_global/top1', 'accuracy_local/top1')


def train(config: Path, data: Path, *flags) -> Path:
    """Work dir of a training."""
    work_dir = data / f'{config.parent.name}_{config.stem}'
    done = run_tool(['train.py', config, '--work-dir', work_dir, *flags], data)
    assert done.returncode == 0, done.stderr
    return work_dir


def scalars(work_dir: Path, key: str) -> list[dict]:
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [row for row in rows if key in row]


def evaluate(config: Path, checkpoint: Path, data: Path) -> dict:
    out = data / 'metrics.json'
    arguments = ['test.py', config, checkpoint, '--work-dir', data / 'tested']
    done = run_tool([*arguments, '--out', out, '--out-item', 'metrics'], data)
    assert done.returncode == 0, done.stderr
    return json.loads(out.read_text())


def arrays_of(cache: Path, split: str = 'train'):
    return open_arrays(cache / split, read_manifest(cache)['splits'][split])


@pytest.fixture(scope='module')
def straight(mini_cache) -> Path:
    """A cache of one view, in whose config nothing is left to chance."""
    out = mini_cache.folder / 'straight'
    done = extract(mini_cache.config, out, '--views', 1, '--cfg-options', STRAIGHT)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope='module')
def both(mini_cache, straight) -> tuple[Path, Path]:
    """Work dirs of the cached and the uncached run of one recipe and seed."""
    cached = train(straight / 'config.py', mini_cache.folder)
    return cached, train(straight / 'uncached.py', mini_cache.folder)


def test_what_lies_in_the_folder(mini_cache):
    train_arrays, test_arrays = arrays_of(mini_cache.cache), arrays_of(mini_cache.cache, 'test')
    assert train_arrays.patches.shape[:3] == (VIEWS, 12, 36)
    assert test_arrays.patches.shape[:3] == (1, 9, 36)
    assert train_arrays.done.all() and test_arrays.done.all()
    assert not (mini_cache.cache / 'val').exists()  # validation reads the test set
    assert not (mini_cache.cache / 'uncached.py').exists()


def test_the_losses_are_those_of_the_uncached_run(both):
    cached, uncached = (scalars(work_dir, 'loss') for work_dir in both)
    assert len(cached) == len(uncached) == 6
    for key in ('loss', 'loss_global', 'loss_local'):
        found, expected = ([row[key] for row in rows] for rows in (cached, uncached))
        np.testing.assert_allclose(found, expected, rtol=2e-3)
    # they move more than the tolerance: equal losses mean equal steps
    losses = [row['loss'] for row in cached]
    assert max(losses) / min(losses) > 1.02


def test_the_accuracy_is_that_of_the_uncached_run(both):
    cached, uncached = (scalars(work_dir, 'accuracy/top1') for work_dir in both)
    assert len(cached) == len(uncached) == 2
    for key in ACCURACIES:
        assert [row[key] for row in cached] == [row[key] for row in uncached]


def test_checkpoints_load_on_either_side(both, straight, mini_cache):
    states = [torch.load(w / 'epoch_2.pth', weights_only=True)['state_dict'] for w in both]
    assert list(states[0]) == list(states[1])
    for work_dir in both:
        expected = scalars(work_dir, 'accuracy/top1')[-1]
        for config in ('config.py', 'uncached.py'):
            checkpoint = work_dir / 'epoch_2.pth'
            found = evaluate(straight / config, checkpoint, mini_cache.folder)
            assert {k: found[k] for k in ACCURACIES} == {k: expected[k] for k in ACCURACIES}


def test_overrides_are_in_the_derived_config(mini_cache, straight):
    cfg = mini_cache.load(straight / 'config.py')
    assert cfg.train_dataloader.dataset.source.dataset.pipeline[2].prob == 0
    assert cfg.train_dataloader.dataset.type == 'CachedFeatureDataset'
    assert mini_cache.load(straight / 'uncached.py').model.backbone.type == 'OpenCLIPViT'
    assert cfg.work_dir == 'work_dirs/mini_cached'
    text = (straight / 'uncached.py').read_text()
    assert "'prob': 0.0" in text and 'num_shots' not in text


def test_an_override_of_clip_is_in_the_derived_config(mini_cache, tmp_path: Path, tiny):
    weights = tmp_path / 'other.pt'
    weights.write_bytes(Path(tiny.clip['pretrained']).read_bytes())
    flags = ['--views', 1, '--cfg-options', f'model.clip.pretrained={weights}']
    done = extract(mini_cache.config, tmp_path / 'out', *flags)
    assert done.returncode == 0, done.stderr
    model = mini_cache.load(tmp_path / 'out' / 'config.py').model
    assert model.clip.pretrained == str(weights)


def test_many_views_train_resume_and_run_in_two_processes(mini_cache):
    config = mini_cache.cache / 'config.py'
    work_dir = train(config, mini_cache.folder, '--cfg-options', 'train_cfg.max_epochs=1')
    train(config, mini_cache.folder, '--resume')
    assert (work_dir / 'epoch_2.pth').is_file()
    assert len(scalars(work_dir, 'loss')) == 6

    flags = ['--work-dir', mini_cache.folder / 'two', '--amp']
    flags += ['--cfg-options', 'train_dataloader.batch_size=2']
    done = run_tool([config, 2, *flags], mini_cache.folder, script='dist_train.sh')
    assert done.returncode == 0, done.stderr
    assert scalars(mini_cache.folder / 'two', 'accuracy/top1')


def kill_on_the_way(config: Path, out: Path, views: int) -> int:
    """SIGKILL an extraction when some of it is done; how much was."""
    flags = ['--views', str(views), '--batch-size', '1', '--workers', '0', '--device', 'cpu']
    command = [sys.executable, str(REPO / 'tools' / 'extract_features.py'), str(config)]
    process = subprocess.Popen(
        [*command, '--out', str(out), *flags],
        env={**os.environ, 'DATA': str(config.parent), 'OMP_NUM_THREADS': '1'},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    start = time.time()
    while not (out / 'train' / 'done.npy').exists() or not arrays_of(out).done.any():
        assert process.poll() is None and time.time() - start < 120
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return int(arrays_of(out).done.sum())


def test_a_killed_extraction_goes_on(mini_cache, tmp_path: Path):
    views = 40
    done = kill_on_the_way(mini_cache.config, tmp_path / 'killed', views)
    assert 0 < done < views * 12
    arguments = ['train.py', tmp_path / 'killed' / 'config.py', '--work-dir', tmp_path / 'run']
    refused = run_tool(arguments, mini_cache.folder)
    assert refused.returncode != 0
    assert 'is incomplete' in refused.stderr and '--views 40' in refused.stderr

    arrays = arrays_of(tmp_path / 'killed')
    view, image = map(int, np.argwhere(arrays.done)[-1])
    kept = np.array(arrays.patches[view, image])
    # other batches and other workers: the views are the same
    for name in ('killed', 'undisturbed'):
        flags = ['--views', views, '--batch-size', 7, '--workers', 1]
        finished = extract(mini_cache.config, tmp_path / name, *flags)
        assert finished.returncode == 0, finished.stderr
    found, expected = arrays_of(tmp_path / 'killed'), arrays_of(tmp_path / 'undisturbed')
    assert found.done.all()
    np.testing.assert_array_equal(found.patches[view, image], kept)
    np.testing.assert_allclose(
        *(np.float32(each.patches) for each in (found, expected)), rtol=2e-3, atol=2e-3
    )


def test_a_lost_split_is_made_again(mini_cache, tmp_path: Path):
    copy = mini_cache.copy(tmp_path)
    for file in (copy / 'test').iterdir():
        file.unlink()
    (copy / 'test').rmdir()
    done = extract(mini_cache.config, copy, '--views', VIEWS)
    assert done.returncode == 0, done.stderr
    found, expected = arrays_of(copy, 'test'), arrays_of(mini_cache.cache, 'test')
    np.testing.assert_array_equal(found.patches, expected.patches)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['model.head.selector.k=99'], 'an image has 36'),
        (['model.head.class_names=[banded,dotted,braided]'], "label 1 is 'dotted' for the head"),
        (['train_dataloader.dataset.source.seed=2'], 'dataset.seed was 1, and is 2 now'),
    ],
)
def test_bad_settings_stop_a_cached_run(mini_cache, options: list, message: str):
    flags = ['--work-dir', mini_cache.folder / 'bad', '--cfg-options', *options]
    done = run_tool(['train.py', mini_cache.cache / 'config.py', *flags], mini_cache.folder)
    assert done.returncode != 0
    assert message in done.stderr


@pytest.mark.parametrize('flags', [['--tta'], ['--show-dir', 'pictures']])
def test_what_needs_images_is_refused(mini_cache, flags: list):
    arguments = ['test.py', mini_cache.cache / 'config.py', 'absent.pth', *flags]
    done = run_tool(arguments, mini_cache.folder)
    assert done.returncode != 0
    assert 'need images' in done.stderr


def test_without_images_the_source_can_be_left_out(mini_cache, tmp_path: Path):
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    options = [f'{loader}.dataset.source=None' for loader in loaders]
    flags = ['--work-dir', tmp_path / 'run', '--cfg-options', *options]
    # tmp_path holds no dtd/
    done = run_tool(['train.py', mini_cache.cache / 'config.py', *flags], tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'NOT compared with the data' in done.stdout + done.stderr


@pytest.fixture
def run(monkeypatch, mini_cache):
    """``apis.extract`` in this process, with DATA as the miniature has it."""
    monkeypatch.setenv('DATA', str(mini_cache.folder))
    return functools.partial(apis.extract, workers=0)


def test_a_complete_cache_is_left_alone(run, mini_cache, tmp_path: Path, capsys):
    copy = mini_cache.copy(tmp_path)
    before = {file: file.stat().st_mtime_ns for file in copy.rglob('*.*')}
    run(mini_cache.config, copy, VIEWS)
    told = capsys.readouterr().out
    assert 'complete already, nothing was done' in told
    assert {file: file.stat().st_mtime_ns for file in copy.rglob('*.*')} == before


def test_a_config_that_was_written_for_another_is_refused(run, mini_cache, tmp_path: Path):
    copy = mini_cache.copy(tmp_path)
    options = {'model.head.num_local_prompts': 1}
    with pytest.raises(ValueError, match=r'num_local_prompts = 2, and the config asked for has 1'):
        run(mini_cache.config, copy, VIEWS, cfg_options=options)
    (copy / 'config.py').unlink()
    run(mini_cache.config, copy, VIEWS, cfg_options=options)
    assert Config.fromfile(copy / 'config.py').model.head.num_local_prompts == 1


def test_what_is_damaged_is_made_again(run, mini_cache, tmp_path: Path, capsys):
    copy = mini_cache.copy(tmp_path)
    arrays = open_arrays(copy / 'train', read_manifest(copy)['splits']['train'], mode='r+')
    arrays.patches[1, 3:5] = 0
    arrays.image[2, 7, 0] += 1
    run(mini_cache.config, copy, VIEWS)
    assert 'train: 3 stored images and views were not as' in capsys.readouterr().out
    for found, expected in zip(arrays, arrays_of(mini_cache.cache)):
        if found.dtype == np.float16:
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    run(mini_cache.config, copy, VIEWS)
    assert 'complete already, nothing was done' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(views=2), r'splits\.train\.views was 3, and is 2 now'),
        (dict(seed=1), r'splits\.train\.seed was 0, and is 1 now'),
        (
            dict(cfg_options={'model.backbone.first_block_residual': False}),
            r'backbone\.first_block_residual was True, and is False now',
        ),
        (
            dict(cfg_options={'train_dataloader.dataset.num_shots': 3}),
            r'splits\.train\.dataset\.num_shots was 4, and is 3 now',
        ),
        (
            dict(cfg_options={'model.train_cfg.augments': 'Mixup'}),
            r'batch augmentations \(mixup, cutmix\) mix pixels',
        ),
    ],
)
def test_another_cache_is_never_overwritten(run, mini_cache, settings, message: str):
    before = (mini_cache.cache / 'manifest.json').read_bytes()
    with pytest.raises(ValueError, match=message):
        run(mini_cache.config, mini_cache.cache, **{'views': VIEWS, **settings})
    assert (mini_cache.cache / 'manifest.json').read_bytes() == before


def test_a_folder_with_something_else_is_refused(run, mini_cache):
    with pytest.raises(ValueError, match='is not empty and holds no feature cache'):
        run(mini_cache.config, mini_cache.folder / 'dtd')


def settle(mini_cache, out: Path) -> None:
    manifest = read_manifest(mini_cache.cache)
    files = {name: mini_cache.cache / name / 'samples.json' for name in manifest['splits']}
    rows = {name: json.loads(file.read_text()) for name, file in files.items()}
    settle_manifest(out, manifest, rows)
    assert read_manifest(out) == manifest


def test_what_a_killed_process_left_half_written_is_replaced(mini_cache, tmp_path: Path):
    (tmp_path / 'manifest.json.1-ab.part').write_text('{"format": ')  # its first write
    settle(mini_cache, tmp_path)
    (tmp_path / 'train' / 'samples.json').rename(tmp_path / 'train' / 'samples.json.1-ab.part')
    settle(mini_cache, tmp_path)
    (tmp_path / 'manifest.json').unlink()
    with pytest.raises(ValueError, match='is not empty and holds no feature cache'):
        settle(mini_cache, tmp_path)


def test_a_disk_that_is_full_at_the_first_write(mini_cache, tmp_path, monkeypatch):
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match=r'manifest\.json .*could not be written: No space') as said:
        settle(mini_cache, tmp_path)
    assert said.value.errno == errno.ENOSPC
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    settle(mini_cache, tmp_path)


def test_a_cached_config_is_not_cached_again(run, mini_cache, tmp_path: Path):
    with pytest.raises(ValueError, match='this is the config of a cache already'):
        run(mini_cache.cache / 'config.py', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model.clip.pretrained': None}, 'random weights differ in every process'),
        ({'model.backbone.type': 'ResNet'}, 'expected an OpenCLIPViT as backbone'),
        ({'model.data_preprocessor.type': 'SelfSupDataPreprocessor'}, 'expected a ClsData'),
        ({'data_preprocessor.to_rgb': True}, 'expected data_preprocessor inside model'),
    ],
)
def test_a_model_that_cannot_be_cached(run, mini_cache, tmp_path, change, message):
    config = tmp_path / 'other.py'
    config.write_text(f'_base_ = {str(mini_cache.config)!r}\n')
    if 'data_preprocessor.to_rgb' in change:
        change = {**change, 'model.data_preprocessor': None}
    with pytest.raises(ValueError, match=message):
        run(config, tmp_path / 'out', cfg_options=change)


def test_inside_the_current_folder_paths_are_relative(mini_cache, monkeypatch):
    out, config = mini_cache.folder / 'some' / 'where', mini_cache.config
    loaders = dict(train_dataloader=(out, 'train'), val_dataloader=(mini_cache.cache, 'test'))
    monkeypatch.chdir(mini_cache.folder)
    text = derived_configs(config, None, out, loaders)['config.py']
    assert "_base_ = '../../mini.py'" in text and "cache='{{ fileDirname }}'" in text
    other = os.path.relpath(mini_cache.cache, out)
    assert f"cache='{{{{ fileDirname }}}}/{other}'" in text
    monkeypatch.chdir(REPO)
    text = derived_configs(config, None, out, loaders)['config.py']
    assert f'_base_ = {config.as_posix()!r}' in text
    assert f'cache={mini_cache.cache.as_posix()!r}' in text


def test_an_item_under_another_label_is_refused(mini_cache):
    """A dataset that replaces what it cannot load must not fill a cache unnoticed."""
    dataset = DATASETS.build(mini_cache.dataset())
    views = PendingViews(dataset, np.zeros((1, 12), bool), seed=0)
    assert views[0]['index'] == 0
    relabelled = {0: dataset[0]}
    views.dataset = type('Relabelled', (dict,), dict(get_data_info=lambda *_: dict(gt_label=1)))(
        relabelled
    )
    with pytest.raises(ValueError, match='came with label 0, its annotation says 1'):
        views[0]


def test_what_float16_does_not_hold_is_refused():
    batch = dict(view=torch.tensor([1, 2]), index=torch.tensor([3, 4]))
    features = torch.ones(2, 5)
    assert _half(features, batch).dtype == np.float16
    features[1, 2] = 7e4
    with pytest.raises(ValueError, match=r'image 4, view 2.*float16 \(largest 7e\+04\)'):
        _half(features, batch)


def test_validation_on_other_data_gets_its_own_split(mini_cache):
    cfg = mini_cache.load(mini_cache.config)
    loaders = dict(train_dataloader='train', val_dataloader='test', test_dataloader='test')
    assert splits_of(cfg) == loaders
    cfg.val_dataloader.dataset.split = 'val'
    assert splits_of(cfg) == {**loaders, 'val_dataloader': 'val'}
