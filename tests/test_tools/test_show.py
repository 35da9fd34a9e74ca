"""``sotglp show``, end to end, in this process."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_own import CLASSES, train_own
from mini_pictures import CONFIG, demo_config, demo_model, write_checkpoint
from mmpretrain.registry import DATASETS
from PIL import Image

from sotglp_cli import main
from sotglp_mm.visualization import draw_plan

SHOW = import_module('sotglp_mm.apis.show')  # the package's attribute is the function


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory) -> Path:
    return write_checkpoint(demo_model(), tmp_path_factory.mktemp('demo'))


@pytest.fixture
def draw(checkpoint: Path, tmp_path: Path, capsys):
    """``draw(*arguments)``: what was printed, and the pictures by name."""

    def run(*arguments, config=CONFIG, weights=checkpoint, status=0) -> tuple[str, dict]:
        out = tmp_path / 'out'
        command = ['show', config, weights, *arguments, '--out-dir', out]
        assert main([str(word) for word in command]) == status
        files = sorted(out.glob('*'))
        printed = capsys.readouterr()
        pictures = {file.name: np.asarray(Image.open(file)) for file in files}
        return printed.out + printed.err, pictures

    return run


def scene(index: int) -> np.ndarray:
    """RGB of a test image."""
    dataset = DATASETS.build(dict(demo_config().test_dataloader.dataset, pipeline=[]))
    return dataset[index]['img'][..., ::-1]


def test_images_of_the_dataset(draw):
    said, pictures = draw('--dataset', 'test', '--indices', 0, 79)
    assert list(pictures) == ['test_00000.png', 'test_00079.png']
    assert said.count('(right)') + said.count('(wrong: it is') == 2
    assert 'test_00079.png: predicted ' in said


def test_parts_of_the_demo_are_outlined(draw, monkeypatch):
    seen = []
    monkeypatch.setattr(
        SHOW, 'draw_plan', lambda picture: draw_plan(seen.append(picture) or picture)
    )
    draw('--dataset', 'test', '--indices', 3)
    assert sum(part['of_class'] for part in seen[0].parts) in (2, 3)
    np.testing.assert_array_equal(seen[0].image, scene(3))


def test_training_images_without_augmentation(draw, monkeypatch):
    seen = []
    blank = np.zeros((2, 2, 3), np.uint8)
    monkeypatch.setattr(SHOW, 'draw_plan', lambda picture: seen.append(picture) or blank)
    draw('--dataset', 'train', '--indices', 5)
    draw('--dataset', 'train', '--indices', 5)
    np.testing.assert_array_equal(seen[0].image, seen[1].image)
    assert seen[0].parts


def test_files_and_folders(draw, tmp_path: Path):
    folder = tmp_path / 'images'
    folder.mkdir()
    for index in (0, 1):
        Image.fromarray(scene(index)).save(folder / f'scene {index}.png')
    (folder / 'notes.txt').write_text('not an image')
    said, pictures = draw(folder, folder / 'scene 1.png')
    assert list(pictures) == ['scene 0.png', 'scene 1.png']
    assert '(right)' not in said
    assert '(wrong' not in said


def test_one_bad_file_does_not_stop_the_rest(draw, tmp_path: Path):
    folder = tmp_path / 'images'
    (folder / 'empty').mkdir(parents=True)
    for name in ('a.png', '.hidden.png', 'c.png'):
        Image.fromarray(scene(0)).save(folder / name)
    (folder / '.hidden.png').write_text('not an image')
    (folder / 'b.png').write_text('not an image')
    said, pictures = draw(folder / 'empty', folder, folder / 'gone.png', status=1)
    assert '3 of the images could not be read' in said
    assert 'b.png: not a picture that Pillow can read' in said
    assert 'empty holds no image' in said and 'gone.png does not exist' in said
    assert list(pictures) == ['a.png', 'c.png']


def test_globs(draw, tmp_path: Path):
    for name in ('one.png', 'two.png', 'other.jpg'):
        Image.fromarray(scene(0)).save(tmp_path / name)
    _, pictures = draw(f'{tmp_path}/*.png')
    assert list(pictures) == ['one.png', 'two.png']


def test_equal_names_in_different_folders(draw, tmp_path: Path):
    for index, kind in enumerate(('cats', 'dogs')):
        (tmp_path / 'images' / kind).mkdir(parents=True)
        Image.fromarray(scene(index)).save(tmp_path / 'images' / kind / '1.png')
    one = tmp_path / 'images' / 'cats' / '1.png'
    Image.fromarray(scene(2)).save(tmp_path / '1.png')
    _, pictures = draw(one, tmp_path / '1.png', tmp_path / 'images')
    assert list(pictures) == ['1.png', '1_.png', 'dogs_1.png']
    first, second, third = pictures.values()
    assert (first != second).any()
    assert (second != third).any()


def test_classes_by_name(draw):
    _, one = draw('--dataset', 'test', '--class', 'bavo')
    (first,) = one.values()
    _, two = draw('--dataset', 'test', '--class', 'cilen', 'Drupan')
    (second,) = two.values()
    assert second.shape[0] > first.shape[0], 'a row for each class'


def test_options_reach_the_model(draw):
    option = 'model.head.selector.k=3'
    _, pictures = draw('--dataset', 'test', '--class', 'bavo', '--cfg-options', option)
    _, others = draw('--dataset', 'test', '--class', 'bavo')
    (one,), (other,) = pictures.values(), others.values()
    assert (one != other).any()


def test_class_names_of_an_absent_folder_come_from_the_checkpoint(draw, tiny, tmp_path: Path):
    own = train_own(tmp_path / 'own', tiny.clip)
    said, pictures = draw(own.images / 'red fox', config=own.config, weights=own.checkpoint)
    assert list(pictures) == ['0.png', '1.png', '2.png']
    predicted = [line.split('predicted ')[1] for line in said.splitlines() if 'predicted' in line]
    assert len(predicted) == 3
    assert all(text.startswith(CLASSES) for text in predicted)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--dataset', 'test', '--class', 'cat'], "no class 'cat'; it has 24: bavo, cilen"),
        (['--dataset', 'test', '--indices', 960], 'no image 960 in the test set; it has 960'),
        (['/no/such/place'], '/no/such/place does not exist; expected an image'),
        ([], 'name images, or say --dataset'),
        (['photo.jpg', '--dataset', 'test'], 'name images, or say --dataset'),
    ],
)
def test_mistakes_are_named(draw, arguments: list, message: str):
    assert message in draw(*arguments, status=2)[0]


def test_a_model_without_local_prompts(draw, checkpoint: Path, tmp_path: Path):
    state = torch.load(checkpoint, weights_only=True)['state_dict']
    del state['head.local_prompts']
    torch.save(dict(state_dict=state), tmp_path / 'coop.pth')
    arguments = ['--dataset', 'test', '--cfg-options', 'model.head.num_local_prompts=0']
    said, _ = draw(*arguments, weights=tmp_path / 'coop.pth', status=2)
    assert 'no plan can be drawn: the head has no local prompts' in said


def test_an_image_of_another_size_goes_through_the_test_pipeline(draw, tmp_path: Path):
    Image.new('RGB', (100, 80)).save(tmp_path / 'wide.png')
    said, pictures = draw(tmp_path / 'wide.png')
    assert 'wide' in said and len(pictures) == 1


def test_stored_features_have_no_pixels(draw, mini_cache):
    said, _ = draw('--dataset', 'test', config=mini_cache.cache / 'config.py', status=2)
    assert 'reads stored features' in said
