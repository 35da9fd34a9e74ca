"""FewShotClassifier: photos to predictions, the saved folder, the Hub's cache, bad input."""

import json
import shutil
from pathlib import Path
from typing import NamedTuple
from unittest.mock import Mock

import huggingface_hub
import pytest
import yaml
from huggingface_hub.utils import RepositoryNotFoundError
from mini_own import write_shapes
from safetensors.torch import load_file

from sotglp_mm.apis import FewShotClassifier, read_calibration
from sotglp_mm.datasets import own_images_dataset

RECIPE = 'sotglp_demo_16shot_own'
SHORT = dict(
    train_cfg=dict(max_epochs=4),
    optim_wrapper=dict(optimizer=dict(lr=0.05)),
    train_dataloader=dict(num_workers=0, batch_size=12),
    test_dataloader=dict(num_workers=0),
)


class Fitted(NamedTuple):
    photos: Path
    classifier: FewShotClassifier
    printed: str
    folder: Path
    """As it was saved."""


@pytest.fixture(scope='module')
def fitted(tmp_path_factory) -> Fitted:
    place = tmp_path_factory.mktemp('classifier')
    write_shapes(place / 'photos', count=12)
    classifier = FewShotClassifier(RECIPE, work_dir=place / 'run', **SHORT)
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr(
            'builtins.print', lambda *texts, **_: lines.append(' '.join(map(str, texts)))
        )
        classifier.fit(place / 'photos')
    folder = classifier.save(place / 'shapes')
    return Fitted(place / 'photos', classifier, '\n'.join(lines), folder)


def test_fit_says_what_it_reached_on_images_that_it_held_out(fitted):
    results = fitted.classifier.results
    assert results['accuracy/top1'] > 50, 'chance is 17 %'
    split = json.loads((fitted.photos / 'split_sotglp_seed1.json').read_text())
    assert results['train_images'] == len(split['train']) == 36
    assert results['test_images'] == len(split['test']) == 24
    assert f'{results["accuracy/top1"]:.1f} % of 24 held-out images' in fitted.printed
    assert read_calibration(fitted.classifier.checkpoint)['images'] == len(split['val'])
    # without a GPU it trains from stored features
    assert (fitted.classifier.work_dir / 'features' / 'manifest.json').is_file()


def test_predict_and_evaluate(fitted):
    rows = fitted.classifier.predict(fitted.photos / 'red circle', num_workers=0)
    assert len(rows) == 12
    assert {'path', 'label', 'probability', 'top', 'ood_score', 'known'} == set(rows[0])
    metrics = fitted.classifier.evaluate(fitted.photos)
    # of the folder that was trained on, the images that were held out
    results = {k: v for k, v in fitted.classifier.results.items() if '/' in k}
    assert metrics == pytest.approx(results)


def test_photos_on_a_disk_to_read_from_and_photos_that_change(tmp_path, monkeypatch, capsys):
    photos, name = tmp_path / 'photos', 'split_sotglp_seed1.json'
    write_shapes(photos, count=6)
    settings = {**SHORT, 'train_cfg': dict(max_epochs=1)}
    classifier = FewShotClassifier(RECIPE, work_dir=tmp_path / 'run', features=False, **settings)
    write = own_images_dataset.write_atomically

    def write_or_not(file: Path, *content):
        if file.name == name:
            raise OSError('read-only')
        write(file, *content)

    monkeypatch.setattr(own_images_dataset, 'write_atomically', write_or_not)
    classifier.fit(photos)
    assert 'nothing has compared its class names' not in capsys.readouterr().out
    assert not (photos / name).exists()
    found = classifier.evaluate(photos)  # of the images that were held out, not of all
    assert found == pytest.approx({k: v for k, v in classifier.results.items() if '/' in k})
    shutil.rmtree(photos)
    write_shapes(photos, count=7)  # another draw
    with pytest.raises(ValueError, match='changed since this model was trained on it'):
        classifier.evaluate(photos)
    with pytest.raises(ValueError, match='holds a run on other photos'):
        classifier.fit(photos)


def test_evaluate_on_some_classes_in_other_spelling(fitted, tmp_path):
    write_shapes(tmp_path / 'all', count=6, seed=5)
    (tmp_path / 'new').mkdir()
    (tmp_path / 'all' / 'red square').rename(tmp_path / 'new' / 'Red_square')
    rows = fitted.classifier.predict(tmp_path / 'new', num_workers=0)
    right = sum(row['label'] == 'red square' for row in rows)
    found = fitted.classifier.evaluate(tmp_path / 'new')
    assert found['accuracy/top1'] == pytest.approx(100 * right / 6)
    (tmp_path / 'new' / 'Red_square').rename(tmp_path / 'new' / 'green square')
    with pytest.raises(
        ValueError, match=r"images of 'green square', which the model does not know"
    ):
        fitted.classifier.evaluate(tmp_path / 'new')


def test_the_saved_folder(fitted):
    names = {path.name for path in fitted.folder.iterdir()}
    assert names == {'model.safetensors', 'config.json', 'classifier.json', 'README.md'}
    state = load_file(fitted.folder / 'model.safetensors')
    assert {'head.global_prompts', 'head.local_prompts', 'neck.local_projection.weight'} <= set(
        state
    )
    about = json.loads((fitted.folder / 'classifier.json').read_text())
    assert about['class_names'] == sorted(
        path.name for path in fitted.photos.iterdir() if path.is_dir()
    )
    assert len(about['clip']['weights_sha256']) == 64
    card = (fitted.folder / 'README.md').read_text()
    assert yaml.safe_load(card.split('---')[1])['library_name'] == 'sotglp_mm'
    assert f'{fitted.classifier.results["accuracy/top1"]:.1f}' in card
    assert str(fitted.photos) not in ''.join(
        path.read_text() for path in fitted.folder.iterdir() if path.suffix != '.safetensors'
    )


def same_predictions(one: FewShotClassifier, other: FewShotClassifier, photos: Path) -> bool:
    return one.predict(photos, num_workers=0) == other.predict(photos, num_workers=0)


def test_a_loaded_folder_predicts_and_evaluates_the_same(fitted, tmp_path):
    copy = shutil.copytree(fitted.folder, tmp_path / 'copy')
    loaded = FewShotClassifier.load(copy)
    assert same_predictions(loaded, fitted.classifier, fitted.photos)
    assert loaded.results == fitted.classifier.results
    results = {k: v for k, v in fitted.classifier.results.items() if '/' in k}
    assert loaded.evaluate(fitted.photos) == pytest.approx(results)
    again = loaded.save(tmp_path / 'again')
    for name in ('model.safetensors', 'classifier.json'):
        assert (again / name).read_bytes() == (fitted.folder / name).read_bytes()


def test_a_model_in_the_cache_of_the_hub_needs_no_network(fitted, tmp_path, monkeypatch):
    commit = 40 * 'a'
    model = tmp_path / 'models--someone--shapes'
    shutil.copytree(fitted.folder, model / 'snapshots' / commit)
    (model / 'refs').mkdir()
    (model / 'refs' / 'main').write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_CACHE', str(tmp_path))
    monkeypatch.setattr(huggingface_hub.constants, 'HF_HUB_OFFLINE', True)
    loaded = FewShotClassifier.load('someone/shapes')
    assert same_predictions(loaded, fitted.classifier, fitted.photos / 'red circle')
    with pytest.raises(
        FileNotFoundError, match=r"'someone/other' is no folder .* could not be reached"
    ):
        FewShotClassifier.load('someone/other')
    with pytest.raises(FileNotFoundError, match=r"'a/b/c' is no folder here, and it cannot be"):
        FewShotClassifier.load('a/b/c')


def test_an_id_that_the_hub_does_not_know(monkeypatch):
    answer = RepositoryNotFoundError('404', response=Mock())
    monkeypatch.setattr(huggingface_hub, 'snapshot_download', Mock(side_effect=answer))
    with pytest.raises(FileNotFoundError, match=r"'no/such' is no folder .* Hub has no model"):
        FewShotClassifier.load('no/such')


def test_a_folder_that_could_run_code_or_is_damaged_is_refused(fitted, tmp_path):
    copy = shutil.copytree(fitted.folder, tmp_path / 'copy')
    config = json.loads((copy / 'config.json').read_text())
    config['model']['head']['loss'] = dict(type='os.system', command='echo')
    (copy / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"has type 'os.system', which could run any code"):
        FewShotClassifier.load(copy)
    shutil.copy(fitted.folder / 'config.json', copy)
    (copy / 'model.safetensors').write_bytes(b'no tensors')
    with pytest.raises(ValueError, match=r'is damaged, or no folder of FewShotClassifier.save'):
        FewShotClassifier.load(copy)
    (copy / 'model.safetensors').unlink()
    with pytest.raises(FileNotFoundError, match=r'has no model.safetensors'):
        FewShotClassifier.load(copy)


def test_bad_photos_and_settings_are_refused_before_any_work(fitted, tmp_path):
    classifier = FewShotClassifier(RECIPE, work_dir=tmp_path / 'run')
    with pytest.raises(ValueError, match=r'has learned nothing yet; call fit, or load'):
        classifier.predict(tmp_path)
    (tmp_path / 'photos').mkdir()
    with pytest.raises(ValueError, match=r'there is no image; expected FOLDER/<class>/<image>'):
        classifier.fit(tmp_path / 'photos')
    write_shapes(tmp_path / 'shapes', count=1)
    (tmp_path / 'shapes' / 'red circle').rename(tmp_path / 'photos' / 'red circle')
    with pytest.raises(ValueError, match=r"one class, 'red circle', and at least two are needed"):
        classifier.fit(tmp_path / 'photos')
    with pytest.raises(FileNotFoundError, match=r'gone does not exist'):
        classifier.fit(tmp_path / 'gone')
    assert not (tmp_path / 'run').exists()
    with pytest.raises(FileNotFoundError, match=r"recipe 'sotglp' is neither a config file nor"):
        FewShotClassifier('sotglp')
    settings = {**SHORT, 'train_cfg': dict(max_epochs=9)}
    other = FewShotClassifier(RECIPE, work_dir=fitted.classifier.work_dir, **settings)
    with pytest.raises(ValueError, match=r'holds a run on other photos or with other settings'):
        other.fit(fitted.photos)


def test_a_recipe_of_a_known_set_and_so_few_images_that_none_are_left(tmp_path, capsys):
    """Methods are recipes, too; from images, where features are switched off."""
    write_shapes(tmp_path / 'photos', count=2)
    classifier = FewShotClassifier(
        'demo/coop',
        work_dir=tmp_path / 'run',
        features=False,
        **{**SHORT, 'train_cfg': dict(max_epochs=1)},
    ).fit(tmp_path / 'photos')
    assert classifier.results['train_images'] == classifier.results['test_images'] == 6
    assert 'Not calibrated: ' in capsys.readouterr().out
    assert 'known' not in classifier.predict(tmp_path / 'photos', num_workers=0)[0]
