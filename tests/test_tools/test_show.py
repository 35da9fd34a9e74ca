"""``sotglp show``, end to end, in this process."""

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_own import CLASSES
from mini_pictures import CONFIG, demo_config
from mmpretrain.registry import DATASETS
from PIL import Image

from sotglp_cli import main

SHOW = import_module('sotglp_mm.apis.show')  # the package's attribute is the function


@pytest.fixture
def draw(demo_checkpoint: Path, tmp_path: Path, capsys):
    """``draw(*arguments)``: what was printed, and the pictures by name."""

    def run(*arguments, config=CONFIG, weights=demo_checkpoint, status=0) -> tuple[str, dict]:
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


def test_images_are_as_they_are_and_parts_of_the_demo_outlined(draw, monkeypatch):
    seen = []
    blank = np.zeros((2, 2, 3), np.uint8)
    monkeypatch.setattr(SHOW, 'draw_plan', lambda picture: seen.append(picture) or blank)
    draw('--dataset', 'test', '--indices', 3)
    assert sum(part['of_class'] for part in seen[0].parts) in (2, 3)
    np.testing.assert_array_equal(seen[0].image, scene(3))
    draw('--dataset', 'train', '--indices', 5)  # without augmentation
    draw('--dataset', 'train', '--indices', 5)
    np.testing.assert_array_equal(seen[1].image, seen[2].image)
    assert seen[1].parts


def test_one_bad_file_does_not_stop_the_rest(draw, tmp_path: Path):
    folder = tmp_path / 'images'
    (folder / 'empty').mkdir(parents=True)
    for name in ('a.png', '.hidden.png', 'c.png'):
        Image.fromarray(scene(0)).save(folder / name)
    (folder / '.hidden.png').write_text('not an image')
    (folder / 'b.png').write_text('not an image')
    Image.new('RGB', (100, 80)).save(folder / 'c.png')  # of another size
    said, pictures = draw(folder / 'empty', folder, folder / 'gone.png', status=1)
    assert '3 of the images could not be read' in said
    assert 'b.png: not a picture that Pillow can read' in said
    assert 'empty holds no image' in said and 'gone.png does not exist' in said
    assert list(pictures) == ['a.png', 'c.png']


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


def test_classes_by_name_and_options_for_the_model(draw):
    _, one = draw('--dataset', 'test', '--class', 'bavo')
    (first,) = one.values()
    option = 'model.head.selector.k=3'
    _, one = draw('--dataset', 'test', '--class', 'bavo', '--cfg-options', option)
    (other,) = one.values()
    assert (first != other).any()
    _, two = draw('--dataset', 'test', '--class', 'cilen', 'Drupan')
    (second,) = two.values()
    assert second.shape[0] > first.shape[0], 'a row for each class'


def test_class_names_of_an_absent_folder_come_from_the_checkpoint(draw, own):
    folder = own.images / 'red fox'
    said, pictures = draw(folder, config=own.config, weights=own.checkpoint)
    assert list(pictures) == ['0.png', '1.png', '2.png']
    assert '(right)' not in said and '(wrong' not in said
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


def test_a_model_without_local_prompts(draw, demo_checkpoint: Path, tmp_path: Path):
    state = torch.load(demo_checkpoint, weights_only=True)['state_dict']
    del state['head.local_prompts']
    torch.save(dict(state_dict=state), tmp_path / 'coop.pth')
    arguments = ['--dataset', 'test', '--cfg-options', 'model.head.num_local_prompts=0']
    said, _ = draw(*arguments, weights=tmp_path / 'coop.pth', status=2)
    assert 'no plan can be drawn: the head has no local prompts' in said


def test_stored_features_have_no_pixels(draw, mini_cache):
    said, _ = draw('--dataset', 'test', config=mini_cache.cache / 'config.py', status=2)
    assert 'reads stored features' in said
