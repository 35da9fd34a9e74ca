"""``sotglp calibrate``: what is fitted, from which images, where it is kept and who uses it."""

import json
import math
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mini_own import write_shapes
from mini_runs import REPO

from sotglp_cli import main
from sotglp_mm import apis
from sotglp_mm.apis import calibrate, load_config, predict, read_calibration
from sotglp_mm.apis.calibration import fit_temperature, validation_images
from sotglp_mm.functional import negative_log_likelihood, tempered
from sotglp_mm.io.checkpoint_file import check_resumable, read_checkpoint

CONFIG = REPO / 'configs' / 'sotglp_demo_16shot_own.py'
SHORT = {
    'train_cfg.max_epochs': 2,
    'train_cfg.val_interval': 9,
    'train_dataloader.batch_size': 12,
    'train_dataloader.num_workers': 0,
    'test_dataloader.num_workers': 0,
    'optim_wrapper.optimizer.lr': 0.02,
}


class Run(NamedTuple):
    photos: Path
    raw: Path
    """Checkpoint as it was trained."""

    checkpoint: Path
    """A copy, calibrated."""

    found: dict

    def of_split(self, split: str) -> list[str]:
        kept = json.loads((self.photos / 'split_sotglp_seed1.json').read_text())
        return [str(self.photos / path) for path, *_ in kept[split]]


@pytest.fixture(scope='module')
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp('calibrate')
    photos = folder / 'photos'
    write_shapes(photos, count=12)
    apis.train(CONFIG, work_dir=folder / 'run', data=photos, cfg_options=SHORT)
    raw, checkpoint = folder / 'run' / 'epoch_2.pth', folder / 'calibrated.pth'
    shutil.copy(raw, checkpoint)
    found = calibrate(CONFIG, checkpoint, num_workers=0, data=photos)
    return Run(photos, raw, checkpoint, found)


def test_the_images_are_neither_trained_on_nor_tested_with(run, tmp_path):
    cfg = load_config(CONFIG, data=run.photos, checkpoint=run.raw)
    names = tmp_path / 'names.txt'
    names.write_text('\n'.join(cfg.model.head.class_names))
    cfg.model.head.class_names = str(names)
    images = validation_images(cfg)
    paths = {images[i]['data_samples'].img_path for i in range(len(images))}
    assert paths == set(run.of_split('val'))
    assert run.found['images'] == len(paths) > 0
    for split in ('train', 'val'):  # where there is no test, val serves as test
        write_shapes(tmp_path / 'shapes' / split, count=2)
    with pytest.raises(ValueError, match=r"all 12 images of split 'val'.*trained on or tested"):
        validation_images(load_config(CONFIG, data=tmp_path / 'shapes'))


def test_it_is_kept_in_the_checkpoint_and_all_else_stays(run):
    before, after = read_checkpoint(run.raw), read_checkpoint(run.checkpoint)
    assert read_calibration(run.raw) is None
    assert read_calibration(run.checkpoint) == after['meta'].pop('calibration') == run.found
    assert before['meta'] == after['meta']
    torch.testing.assert_close(after['state_dict'], before['state_dict'], rtol=0, atol=0)
    assert after['optimizer'].pop('dtype') == before['optimizer'].pop('dtype')
    torch.testing.assert_close(after['optimizer'], before['optimizer'], rtol=0, atol=0)
    check_resumable(run.checkpoint)
    assert json.loads(json.dumps(run.found)) == run.found


def test_temperature_and_threshold_are_those_of_the_validation_images(run):
    settings = dict(topk=6, num_workers=0)
    raw = predict(CONFIG, run.raw, run.of_split('val'), **settings)
    label_of = {name: i for i, name in enumerate(raw['classes'])}
    probabilities = torch.zeros(len(raw['predictions']), 6, dtype=torch.float64)
    for row, values in zip(raw['predictions'], probabilities):
        for each in row['top']:
            values[label_of[each['label']]] = each['probability']
    labels = torch.tensor([label_of[Path(r['path']).parent.name] for r in raw['predictions']])
    likelihoods = [
        negative_log_likelihood(tempered(probabilities, factor * run.found['temperature']), labels)
        for factor in (0.98, 1.0, 1.02)
    ]
    assert min(likelihoods) == likelihoods[1] == pytest.approx(run.found['nll'][1], rel=1e-4)
    assert run.found['nll'][1] < run.found['nll'][0]
    scores = sorted(row['ood_score'] for row in raw['predictions'])
    needed = math.ceil(0.95 * len(scores))
    assert run.found['ood']['threshold'] == pytest.approx(scores[needed - 1], rel=1e-5)


def test_predict_uses_it_and_labels_stay(run, capsys):
    raw, found = (
        predict(CONFIG, path, run.of_split('test'), num_workers=0, topk=6)
        for path in (run.raw, run.checkpoint)
    )
    temperature = run.found['temperature']
    assert (raw['temperature'], found['temperature']) == (1.0, temperature)
    assert temperature != 1
    for before, after in zip(raw['predictions'], found['predictions']):
        assert [each['label'] for each in before['top']] == [e['label'] for e in after['top']]
        expected = torch.tensor([each['probability'] for each in before['top']]) ** (
            1 / temperature
        )
        values = [each['probability'] for each in after['top']]
        assert values == pytest.approx((expected / expected.sum()).tolist(), rel=1e-3)
        assert 'known' not in before
        assert after['known'] == (after['ood_score'] <= found['ood']['threshold'])
    assert found['ood']['threshold'] == run.found['ood']['threshold']
    printed = capsys.readouterr().out
    assert f'{run.found["images"]} images of validation' in printed
    assert f'at temperature {temperature:.4g}, of sotglp calibrate' in printed


def test_what_the_kept_values_are_not_for(run):
    settings = dict(paths=run.of_split('test')[:2], num_workers=0)

    def threshold(**more) -> float | None:
        return predict(CONFIG, run.checkpoint, **settings, **more)['ood']['threshold']

    assert threshold(ood='mcm') is None
    assert threshold(threshold=-0.5) == -0.5
    with pytest.raises(ValueError, match=r'calibrated with head.selector.k = 10, .* has 20'):
        threshold(cfg_options={'model.head.selector.k': 20})
    content = read_checkpoint(run.checkpoint)
    content['meta']['calibration']['temperature'] = -1.0
    with pytest.raises(ValueError, match=r'temperature -1\.0; expected a number > 0'):
        read_calibration(content)


def test_the_metric_of_testing_says_both_and_draws(run, tmp_path):
    settings = {'test_evaluator.3.diagram': 'drawn/reliability.png'}
    values = apis.test(
        CONFIG,
        run.checkpoint,
        work_dir=tmp_path,
        data=run.photos,
        cfg_options={**SHORT, **settings},
    )
    assert values['calibration/ece15'] != values['calibration/ece15_calibrated']
    assert (tmp_path / 'drawn' / 'reliability.png').read_bytes().startswith(b'\x89PNG')
    values = apis.test(CONFIG, run.raw, work_dir=tmp_path, data=run.photos, cfg_options=SHORT)
    assert 'calibration/ece15' in values
    assert 'calibration/ece15_calibrated' not in values


def test_the_command_and_a_file_that_holds_weights_alone(run, tmp_path, capsys):
    weights = tmp_path / 'weights.pth'
    torch.save(read_checkpoint(run.raw)['state_dict'], weights)
    assert main(['calibrate', str(CONFIG), str(weights), '--data', str(run.photos)]) == 2
    assert 'holds weights alone' in capsys.readouterr().err
    copy = shutil.copy(run.raw, tmp_path / 'copy.pth')
    command = ['calibrate', str(CONFIG), str(copy), '--data', str(run.photos)]
    assert main([*command, '--num-workers', '0', '--ood', 'mcm']) == 0
    assert read_calibration(copy)['ood']['name'] == 'mcm_T1'
    assert 'temperature: ' in capsys.readouterr().out


@pytest.mark.parametrize('true', [0.25, 1.0, 3.0])
def test_the_temperature_that_spoiled_the_logits_is_found(true: float):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(20_000, 5, generator=generator, dtype=torch.float64) * 2
    labels = logits.softmax(1).multinomial(1, generator=generator)[:, 0]
    found, why = fit_temperature((logits * true).softmax(1), labels)
    assert found == pytest.approx(true, rel=0.03)
    assert why is None


def test_where_no_temperature_fits_best_it_is_one_and_says_why():
    right = torch.tensor([[0.7, 0.3], [0.1, 0.9]], dtype=torch.float64)
    found, why = fit_temperature(right, torch.tensor([0, 1]))
    assert found == 1.0
    assert 'all 2 images are predicted right' in why
    found, why = fit_temperature(right, torch.tensor([1, 0]))
    assert found == 1.0
    assert 'no better than chance' in why
