"""``sotglp predict``: the predictions of testing, names without data, odd pictures, OOD."""

import csv
import json
import os
from pathlib import Path

import numpy as np
import pytest
from mini_data import write_image
from mini_own import CLASSES, OwnRun
from mini_runs import REPO, run_tool
from mmpretrain import ImageClassificationInferencer
from PIL import Image

from sotglp_cli import main
from sotglp_mm.apis.calibration import threshold_at_tpr, with_rounding

NAMES = sorted(CLASSES)


class Run:
    """Exit status, what was printed, what --out has."""

    def __init__(self, own: OwnRun, out: Path, capsys, *arguments):
        command = ['predict', own.config, own.checkpoint, *arguments, '--num-workers', 0]
        self.status = main(
            [os.fspath(x) if isinstance(x, Path) else str(x) for x in command]
            + ['--device', 'cpu', '--out', str(out)]
        )
        self.out, self.err = capsys.readouterr()
        self.report = json.loads(out.read_text()) if out.exists() else None

    def of(self, name: str) -> dict:
        return next(row for row in self.report['predictions'] if row['path'].endswith(name))


@pytest.fixture
def run(own, tmp_path, capsys):
    return lambda *arguments: Run(own, tmp_path / 'out.json', capsys, *arguments)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / 'pictures').mkdir()
    return tmp_path / 'pictures'


def test_the_same_predictions_as_testing_and_the_names_of_the_checkpoint(own, run):
    found = run(own.images / 'red fox', '--batch-size', 4, own.images)  # also behind flags
    assert found.status == 0
    assert found.report['classes'] == NAMES
    assert len(found.report['predictions']) == len(own.expected) == 9
    for row in found.report['predictions']:
        expected = own.expected[str(Path(row['path']).relative_to(own.images))]
        assert row['label'] == row['top'][0]['label'] == NAMES[expected.argmax()]
        by_name = {each['label']: each['probability'] for each in row['top']}
        np.testing.assert_allclose([by_name[name] for name in NAMES], expected, atol=1e-5)
        assert row['probability'] == max(by_name.values())
        assert 'known' not in row


def test_the_command_line_prints_a_table_and_no_warning(own, tmp_path):
    arguments = [own.config, own.checkpoint, own.images, '--num-workers', 1, '--topk', 2]
    done = run_tool(['predict.py', *arguments], tmp_path)
    assert done.returncode == 0, done.stderr
    assert 'warn' not in (done.stdout + done.stderr).lower()
    lines = done.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith('image '))
    assert lines[start].split() == ['image', 'label', 'prob.', 'gl_mcm_T1', 'next']
    rows = lines[start + 2 :]
    assert len(rows) == 9
    column = lines[start].index('prob.')
    assert all(row[column : column + 2] == '0.' for row in rows), 'columns are not aligned'
    assert '9/9' in done.stderr  # progress


def test_a_config_that_learns_nothing_has_its_own_class_names(folder, tmp_path, capsys):
    Image.new('RGB', (64, 64), 'red').save(folder / 'red.png')
    config = REPO / 'configs' / 'demo' / 'zero_shot.py'
    out = tmp_path / 'out.json'
    arguments = ['predict', config, 'none', folder, '--num-workers', 0, '--out', out]
    assert main([str(argument) for argument in arguments]) == 0
    report = json.loads(out.read_text())
    assert report['checkpoint'] is None
    assert report['predictions'][0]['label'] in report['classes']
    assert len(report['classes']) == 24


def test_files_folders_and_globs_each_image_once(own, run):
    fox = own.images / 'red fox'
    found = run(fox / '1.jpg', fox, f'{own.images}/**/2.jpg')
    assert [row['path'].removeprefix(str(own.images)) for row in found.report['predictions']] == [
        '/red fox/1.jpg',
        '/red fox/0.jpg',
        '/red fox/2.jpg',
        '/blue whale/2.jpg',
        '/green frog/2.jpg',
    ]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        ('gone.jpg', 'gone.jpg does not exist'),
        ('*.tiff', "no file matches '"),
        ('', 'holds no image; images end with .jpg'),
    ],
)
def test_nothing_to_predict_is_named(run, folder, name: str, message: str):
    (folder / 'notes.txt').write_text('no image')
    found = run(f'{folder}/{name}')
    assert (found.status, found.report) == (2, None)
    assert message in found.err
    (folder / 'text.jpg').write_text('no picture')
    found = run(folder)
    assert found.status == 1
    assert 'no image could be read' in found.out


def test_what_cannot_be_read_is_named_and_the_rest_goes_on(own, run, folder, monkeypatch):
    write_image(folder / 'good.jpg', 0)
    image = Image.open(folder / 'good.jpg')
    (folder / 'text.jpg').write_text('no picture')
    (folder / 'empty.png').touch()
    image.save(folder / 'cut.jpg')
    (folder / 'cut.jpg').write_bytes((folder / 'cut.jpg').read_bytes()[:900])
    (folder / 'none').mkdir()
    image.resize((700, 600)).save(folder / 'bomb.png')
    Image.new('L', (1, 501)).save(folder / 'needle.png')
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100_000)  # Pillow refuses twice as many
    names = [folder, folder / 'none', folder / 'gone.jpg', f'{folder}/*.tiff']
    found = run(*names, '--batch-size', 2, '--calibrate', own.images, folder / 'nowhere')
    assert found.status == 1
    assert [Path(row['path']).name for row in found.report['predictions']] == ['good.jpg']
    failed = {Path(row['path']).name: row['error'] for row in found.report['failed']}
    images = {'bomb.png', 'cut.jpg', 'empty.png', 'needle.png', 'text.jpg'}
    assert set(failed) == images | {'none', 'gone.jpg', '*.tiff', 'nowhere'}
    assert 'holds no image' in failed['none']
    assert 'does not exist' in failed['gone.jpg']
    assert 'no file matches' in failed['*.tiff']
    assert failed['text.jpg'] == failed['empty.png'] == 'not a picture that Pillow can read'
    assert 'DecompressionBombError' in failed['bomb.png']
    assert 'truncated' in failed['cut.jpg']
    assert 'it has 1 x 501 pixels' in failed['needle.png']
    assert '9 of the images could not be read' in found.err
    assert all(name in found.err for name in failed)


def test_thresholds(own, run, folder):
    """From images of known classes, which equal images pass, or given, of another score."""
    found = run(own.images, '--calibrate', own.images)
    ood = found.report['ood']
    scores = [row['ood_score'] for row in found.report['predictions']]
    assert (ood['method'], ood['temperature'], ood['name']) == ('gl_mcm', 1.0, 'gl_mcm_T1')
    # of 9 images, 95 % are all: the largest score
    assert ood['threshold'] == pytest.approx(max(scores), abs=1e-6)
    assert ood['calibration'] == dict(images=9, source='--calibrate', asked=0.95, accepted=1.0)
    assert 'accepts 95% of 9 images' in found.out
    for name in 'abcde':
        Image.new('RGB', (70, 60), 'green').save(folder / f'{name}.png')
    found = run(folder, '--calibrate', folder / 'a.png', '--batch-size', 2)
    assert {row['known'] for row in found.report['predictions']} == {True}

    flags = ['--ood', 'mcm', '--cfg-options', 'model.head.ood_tau=0.5']
    scores = sorted(row['ood_score'] for row in run(own.images, *flags).report['predictions'])
    middle = (scores[3] + scores[4]) / 2
    found = run(own.images, f'--threshold={middle}', *flags)
    known = [row['known'] for row in found.report['predictions']]
    assert sum(known) == 4
    assert all(row['known'] == (row['ood_score'] <= middle) for row in found.report['predictions'])
    assert f'known: mcm_T0.5 <= {middle:.6g}' in found.out
    assert found.out.count('  unknown') == 5


@pytest.mark.parametrize(('count', 'place'), [(1, 0), (10, 9), (20, 18), (40, 37), (1000, 949)])
def test_the_threshold_is_the_smallest_score_that_accepts_enough(count: int, place: int):
    scores = np.random.default_rng(count).permutation(count).tolist()
    assert threshold_at_tpr(scores) == place  # scores are 0, 1, ...: a score is its place


@pytest.mark.parametrize('tau', [0.01, 1.0, 1000.0])
def test_rounding_does_not_decide_who_is_known_and_a_difference_does(tau: float):
    limit = with_rounding(-0.25, tau)
    scores = [-0.25, -0.25 * (1 - 0.5e-6 / tau), -0.25 * (1 - 0.01 / tau)]
    assert [score <= limit for score in scores] == [True, True, False]


def test_csv_has_a_line_for_each_image(own, folder, capsys):
    (folder / 'text.jpg').write_text('no picture')
    out = folder / 'new' / 'found.csv'
    command = ['predict', own.config, own.checkpoint, own.images, folder, '--topk', 2]
    command += ['--threshold', 0, '--num-workers', 0, '--out']
    assert main([*map(str, command), str(out)]) == 1
    with out.open(newline='', encoding='utf-8') as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == [
        *('path', 'label', 'probability', 'ood_gl_mcm_T1', 'known', 'label_2', 'probability_2'),
        'error',
    ]
    assert len(lines) == 10
    assert lines[-1]['error'] == 'not a picture that Pillow can read'
    assert {line['known'] for line in lines[:-1]} == {'known'}
    assert float(lines[0]['probability']) > float(lines[0]['probability_2'])
    capsys.readouterr()
    for name in ('out.txt', 'text.jpg/out.json', ''):  # cannot be written: before the work
        command[2] = 'gone.pth'
        assert main([*map(str, command), str(folder / name)]) == 2
        assert 'gone.pth' not in capsys.readouterr().err


def test_another_model_than_the_checkpoint_s_is_refused(own, run):
    options = 'model.head.num_local_prompts=0'
    found = run(own.images, '--cfg-options', options)
    assert found.status == 2  # the checkpoint has local prompts: another model
    assert 'head.local_prompts' in found.err
    found = run(own.images, '--ood', 'gl_mcm', '--cfg-options', options)
    assert 'num_local_prompts=0' in found.err


@pytest.mark.parametrize(
    ('lines', 'message'),
    [
        ("test_dataloader = dict(dataset=dict(type='CachedFeatureDataset'))", 'stored features'),
        (
            "model = dict(head=dict(type='MultiTaskHead', task_heads=dict(a=1, b=2)))",
            'several (a, b)',
        ),
        ("test_dataloader = dict(dataset=dict(_delete_=True, type='X'))", 'has no pipeline'),
    ],
)
def test_configs_that_cannot_predict_images_are_refused(own, capsys, tmp_path, lines, message):
    config = tmp_path / 'other.py'
    config.write_text(f'_base_ = {str(own.config)!r}\n{lines}\n')
    other = own._replace(config=config)
    found = Run(other, tmp_path / 'out.json', capsys, own.images)
    assert found.status == 2
    assert found.report is None
    assert message in found.err


def test_a_file_name_that_is_not_text_and_a_pipe(own, run, folder):
    name = os.fsencode(folder) + b'/caf\xe9.png'
    Image.new('RGB', (70, 60), 'red').save(name, format='PNG')
    os.mkfifo(folder / 'x.png')
    found = run(folder, folder / 'x.png')
    assert found.status == 1
    assert "1 files are no images and are not used: 'x.png'" in found.err
    (row,) = found.report['predictions']
    assert os.fsencode(row['path']) == name
    assert r'caf\udce9.png' in found.out
    (failed,) = found.report['failed']
    assert 'x.png' in failed['path'] and 'not a regular file' in failed['error']


def test_what_was_predicted_before_an_interruption_is_written(own, run, monkeypatch):
    forward, calls = ImageClassificationInferencer.forward, []

    def interrupted(*args):
        calls.append(args)
        if len(calls) > 2:
            raise KeyboardInterrupt
        return forward(*args)

    monkeypatch.setattr(ImageClassificationInferencer, 'forward', interrupted)
    found = run(own.images, '--batch-size', 4)
    assert found.status == 130
    assert len(found.report['predictions']) == 8
    assert found.out.count('.jpg') == 8
