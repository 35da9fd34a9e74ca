"""Extract, train from what was extracted, and do it beside the uncached run."""

import functools
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_runs import REPO, STRAIGHT, VIEWS, run_tool
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from process_group import fork

from sotglp_cli import main
from sotglp_mm import apis
from sotglp_mm.features.derived_config import derived_configs
from sotglp_mm.features.format import open_arrays, read_manifest
from sotglp_mm.features.manifest import settle_manifest, splits_of
from sotglp_mm.features.writer import PendingViews, _half

ACCURACIES = ('accuracy/top1', 'accuracy_global/top1', 'accuracy_local/top1')


@pytest.fixture(scope='module', autouse=True)
def data(mini_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('DATA', str(mini_cache.folder))
        yield


def sotglp(*words) -> int:
    """Exit status of a command in this process."""
    return main([str(word) for word in words])


def train(config: Path, work_dir: Path, *options, flags: tuple = ()) -> Path:
    """Train in this process; the work dir."""
    name = f'{work_dir.name}_{time.monotonic_ns()}'  # of the log, which MMEngine keeps
    flags = ['--work-dir', work_dir, *flags, '--cfg-options', f'experiment_name={name}', *options]
    assert sotglp('train', config, *flags) == 0
    return work_dir


def scalars(work_dir: Path, key: str) -> list[dict]:
    files = sorted(work_dir.glob('*/vis_data/scalars.json'))
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [row for row in rows if key in row]


def arrays_of(cache: Path, split: str = 'train'):
    return open_arrays(cache / split, read_manifest(cache)['splits'][split])


@pytest.fixture(scope='module')
def straight(mini_cache) -> Path:
    """A cache of one view, in whose config nothing is left to chance."""
    out = mini_cache.folder / 'straight'
    flags = ['--views', 1, '--workers', 0, '--cfg-options', STRAIGHT]
    done = run_tool(['extract_features.py', mini_cache.config, '--out', out, *flags], out.parent)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope='module')
def both(mini_cache, straight) -> tuple[Path, Path]:
    """Work dirs of the cached and the uncached run of one recipe and seed."""
    names = ('config', 'uncached')
    return tuple(train(straight / f'{name}.py', mini_cache.folder / name) for name in names)


def test_what_lies_in_the_folder(mini_cache):
    train_arrays, test_arrays = arrays_of(mini_cache.cache), arrays_of(mini_cache.cache, 'test')
    assert train_arrays.patches.shape[:3] == (VIEWS, 12, 36)
    assert test_arrays.patches.shape[:3] == (1, 9, 36)
    assert train_arrays.done.all() and test_arrays.done.all()
    assert not (mini_cache.cache / 'val').exists()  # validation reads the test set
    assert not (mini_cache.cache / 'uncached.py').exists()


def test_losses_and_accuracy_are_those_of_the_uncached_run(both):
    cached, uncached = (scalars(work_dir, 'loss') for work_dir in both)
    assert len(cached) == len(uncached) == 6
    for key in ('loss', 'loss_global', 'loss_local'):
        found, expected = ([row[key] for row in rows] for rows in (cached, uncached))
        np.testing.assert_allclose(found, expected, rtol=2e-3)
    # they move more than the tolerance: equal losses mean equal steps
    losses = [row['loss'] for row in cached]
    assert max(losses) / min(losses) > 1.02
    cached, uncached = (scalars(work_dir, 'accuracy/top1') for work_dir in both)
    assert len(cached) == len(uncached) == 2
    for key in ACCURACIES:
        assert [row[key] for row in cached] == [row[key] for row in uncached]


def test_checkpoints_load_on_either_side(both, straight, tmp_path):
    states = [torch.load(w / 'epoch_2.pth', weights_only=True)['state_dict'] for w in both]
    assert list(states[0]) == list(states[1])
    for work_dir, config in zip(both, ('uncached.py', 'config.py')):
        expected = scalars(work_dir, 'accuracy/top1')[-1]
        found = apis.test(straight / config, work_dir / 'epoch_2.pth', work_dir=tmp_path)
        assert {k: found[k] for k in ACCURACIES} == {k: expected[k] for k in ACCURACIES}


def test_overrides_are_in_the_derived_config(mini_cache, straight, tmp_path, tiny):
    cfg = mini_cache.load(straight / 'config.py')
    assert cfg.train_dataloader.dataset.source.dataset.pipeline[2].prob == 0
    assert cfg.train_dataloader.dataset.type == 'CachedFeatureDataset'
    assert mini_cache.load(straight / 'uncached.py').model.backbone.type == 'OpenCLIPViT'
    assert cfg.work_dir == 'work_dirs/mini_cached'
    text = (straight / 'uncached.py').read_text()
    assert "'prob': 0.0" in text and 'num_shots' not in text
    weights = tmp_path / 'other.pt'
    weights.write_bytes(Path(tiny.clip['pretrained']).read_bytes())
    options = {'model.clip.pretrained': str(weights)}
    run(mini_cache.config, tmp_path / 'out', 1, cfg_options=options)
    model = mini_cache.load(tmp_path / 'out' / 'config.py').model
    assert model.clip.pretrained == str(weights)


def test_many_views_train_resume_and_run_in_two_processes(mini_cache, tmp_path):
    config = mini_cache.cache / 'config.py'
    work_dir = train(config, tmp_path / 'one', 'train_cfg.max_epochs=1')
    train(config, work_dir, flags=('--resume',))
    assert (work_dir / 'epoch_2.pth').is_file()
    assert len(scalars(work_dir, 'loss')) == 6

    flags = ['--work-dir', tmp_path / 'two', '--amp']
    flags += ['--cfg-options', 'train_dataloader.batch_size=2', 'train_cfg.max_epochs=1']
    done = run_tool(['train.py', config, *flags], mini_cache.folder, world=2)
    assert done.returncode == 0, done.stderr
    assert scalars(tmp_path / 'two', 'accuracy/top1')


def test_a_killed_extraction_goes_on(mini_cache, tmp_path: Path, capsys):
    views, out = 20, tmp_path / 'killed'
    pid = fork(lambda: run(mini_cache.config, out, views, batch_size=1), tmp_path / 'log.txt')
    while not (out / 'train' / 'done.npy').exists() or not arrays_of(out).done.any():
        assert not os.waitpid(pid, os.WNOHANG)[0]
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    arrays = arrays_of(out)
    assert 0 < arrays.done.sum() < views * 12
    assert sotglp('train', out / 'config.py', '--work-dir', tmp_path / 'run') == 2
    assert re.search('is incomplete.*--views 20', capsys.readouterr().err)

    view, image = map(int, np.argwhere(arrays.done)[-1])
    kept = np.array(arrays.patches[view, image])
    # other batches and other workers: the views are the same
    for name in ('killed', 'undisturbed'):
        apis.extract(mini_cache.config, tmp_path / name, views, batch_size=7, workers=1)
    found, expected = arrays_of(out), arrays_of(tmp_path / 'undisturbed')
    assert found.done.all()
    np.testing.assert_array_equal(found.patches[view, image], kept)
    np.testing.assert_allclose(
        *(np.float32(each.patches) for each in (found, expected)), rtol=2e-3, atol=2e-3
    )


@pytest.mark.parametrize(
    ('command', 'words', 'message'),
    [
        (
            'train',
            ['--cfg-options', 'train_dataloader.dataset.source.seed=2'],
            'dataset.seed was 1, and is 2 now',
        ),
        ('test', ['absent.pth', '--tta'], 'need images'),
        ('test', ['absent.pth', '--show-dir', 'pictures'], 'need images'),
    ],
)
def test_what_stored_features_cannot_do(mini_cache, tmp_path, capsys, command, words, message):
    flags = ['--work-dir', tmp_path]
    words = [*words, *flags] if command == 'test' else [*flags, *words]
    assert sotglp(command, mini_cache.cache / 'config.py', *words) == 2
    assert message in capsys.readouterr().err


def test_without_images_the_source_can_be_left_out(mini_cache, tmp_path: Path, monkeypatch):
    monkeypatch.setenv('DATA', str(tmp_path))  # holds no dtd/
    loaders = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    options = [f'{loader}.dataset.source=None' for loader in loaders]
    config = mini_cache.cache / 'config.py'
    train(config, tmp_path / 'run', 'train_cfg.max_epochs=1', *options)
    assert 'NOT compared with the data' in next(tmp_path.glob('run/*/*.log')).read_text()


run = functools.partial(apis.extract, workers=0)


def test_a_config_that_was_written_for_another_is_refused(mini_cache, tmp_path: Path):
    copy = mini_cache.copy(tmp_path)
    options = {'model.head.num_local_prompts': 1}
    with pytest.raises(ValueError, match=r'num_local_prompts = 2, and the config asked for has 1'):
        run(mini_cache.config, copy, VIEWS, cfg_options=options)
    (copy / 'config.py').unlink()
    run(mini_cache.config, copy, VIEWS, cfg_options=options)
    assert Config.fromfile(copy / 'config.py').model.head.num_local_prompts == 1


def test_what_is_damaged_or_lost_is_made_again(mini_cache, tmp_path: Path, capsys):
    copy = mini_cache.copy(tmp_path)
    arrays = open_arrays(copy / 'train', read_manifest(copy)['splits']['train'], mode='r+')
    arrays.patches[1, 3:5] = 0
    arrays.image[2, 7, 0] += 1
    shutil.rmtree(copy / 'test')
    run(mini_cache.config, copy, VIEWS)
    assert 'train: 3 stored images and views were not as' in capsys.readouterr().out
    for found, expected in zip(arrays, arrays_of(mini_cache.cache)):
        if found.dtype == np.float16:
            np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    found, expected = arrays_of(copy, 'test'), arrays_of(mini_cache.cache, 'test')
    np.testing.assert_array_equal(found.patches, expected.patches)
    before = {file: file.stat().st_mtime_ns for file in copy.rglob('*.*')}
    run(mini_cache.config, copy, VIEWS)
    assert 'complete already, nothing was done' in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in copy.rglob('*.*')} == before


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
            dict(cfg_options={'model.train_cfg.augments': 'Mixup'}),
            r'batch augmentations \(mixup, cutmix\) mix pixels',
        ),
    ],
)
def test_another_cache_is_never_overwritten(mini_cache, settings, message: str):
    before = (mini_cache.cache / 'manifest.json').read_bytes()
    with pytest.raises(ValueError, match=message):
        run(mini_cache.config, mini_cache.cache, **{'views': VIEWS, **settings})
    assert (mini_cache.cache / 'manifest.json').read_bytes() == before


def test_a_folder_with_something_else_is_refused(mini_cache):
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


def test_a_cached_config_is_not_cached_again(mini_cache, tmp_path: Path):
    with pytest.raises(ValueError, match='this is the config of a cache already'):
        run(mini_cache.cache / 'config.py', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_dataset_of_several_sets_is_not_stored_as_one(mini_cache, tmp_path):
    test = apis.load_config(mini_cache.config).test_dataloader.dataset
    sets = dict(_delete_=True, type='EvaluationSets', sets=dict(one=test, other=test))
    with pytest.raises(ValueError, match=r"test_dataloader: .* lose the dataset's set_names"):
        run(mini_cache.config, tmp_path / 'out', cfg_options={'test_dataloader.dataset': sets})


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model.clip.pretrained': None}, 'random weights differ in every process'),
        ({'model.backbone.type': 'ResNet'}, 'expected an OpenCLIPViT as backbone'),
        ({'model.data_preprocessor.type': 'SelfSupDataPreprocessor'}, 'expected a ClsData'),
        ({'data_preprocessor.to_rgb': True}, 'expected data_preprocessor inside model'),
    ],
)
def test_a_model_that_cannot_be_cached(mini_cache, tmp_path, change, message):
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
