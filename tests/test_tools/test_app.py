"""``sotglp app``: the page in a real browser."""

import os
import re
import shutil
import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_pictures import CONFIG, demo_config
from mini_runs import REPO
from PIL import Image

from sotglp_cli import main
from sotglp_mm.apis import predict
from sotglp_mm.apis.app import Trial, example_images
from sotglp_mm.io.checkpoint_file import read_checkpoint

CALIBRATION = import_module('sotglp_mm.apis.calibration')
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')


def test_answers_are_those_of_predict(demo_checkpoint: Path, tmp_path: Path):
    cfg = demo_config()
    image = example_images(cfg, tmp_path)[0]
    report = predict(CONFIG, demo_checkpoint, [image], num_workers=0, quiet=True)
    (predicted,) = report['predictions']
    result = Trial(cfg, demo_checkpoint).look(image)
    best = max(result['scores']['combined'], key=result['scores']['combined'].get)
    assert best == predicted['label']
    assert result['scores']['combined'][best] == pytest.approx(predicted['probability'], abs=1e-6)
    assert set(result['scores']) == {'combined', 'global', 'local'}
    assert result['plan'].ndim == 3


def test_a_threshold_of_another_score_is_not_used(demo_checkpoint: Path, tmp_path: Path):
    cfg, content = demo_config(), read_checkpoint(demo_checkpoint)
    image = example_images(cfg, tmp_path)[0]
    verdicts = {}
    for name in ('mcm_T1', 'gl_mcm_T1'):
        ood = dict(
            name=name, method=name.removesuffix('_T1'), tau=1.0, threshold=5.0, accepted=1.0
        )
        content.setdefault('meta', {})['calibration'] = dict(
            temperature=1.0, images=9, ood=ood, model=CALIBRATION._settings(cfg)
        )
        torch.save(content, tmp_path / 'calibrated.pth')
        verdicts[name] = Trial(demo_config(), tmp_path / 'calibrated.pth').look(image)['verdict']
    assert ', known (threshold' in verdicts['gl_mcm_T1']
    assert 'threshold)' in verdicts['mcm_T1'] and ', known' not in verdicts['mcm_T1']


def test_classes_of_one_name_and_sets_within_a_set(tmp_path: Path):
    cfg = demo_config()
    cfg.model.head.class_names = ['cat', 'dog', 'cat']
    known = cfg.test_dataloader.dataset
    cfg.test_dataloader.dataset = dict(type='EvaluationSets', sets=dict(known=known))
    image = example_images(cfg, tmp_path)[0]
    scores = Trial(cfg, None).look(image)['scores']['combined']
    assert list(scores) == ['cat (0)', 'dog', 'cat (2)']
    assert sum(scores.values()) == pytest.approx(1)


def test_port_that_is_taken(demo_checkpoint: Path, capsys):
    with socket.create_server(('127.0.0.1', 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(['app', str(CONFIG), str(demo_checkpoint), '--port', port]) == 2
    assert port in capsys.readouterr().err


@pytest.fixture
def page(demo_checkpoint: Path):
    """The page in a browser, and the addresses beyond this machine that it asked for."""
    playwright = pytest.importorskip('playwright.sync_api')
    command = [sys.executable, '-m', 'sotglp_cli', 'app', CONFIG, demo_checkpoint, '--port', '0']
    server = subprocess.Popen(
        [str(word) for word in command],
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPO,
        env={**os.environ, 'PYTHONUNBUFFERED': '1'},
    )
    try:
        lines = iter(server.stdout.readline, '')
        address = next(filter(None, (re.search(r'http://127\.0\.0\.1:\d+', s) for s in lines)))
        with playwright.sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
            page = browser.new_page()
            elsewhere: list[str] = []
            page.on('request', lambda request: elsewhere.append(request.url))
            page.goto(address[0])
            page.wait_for_selector('text=Try the model')
            yield page
            local = (address[0], 'data:', 'blob:')
            assert [url for url in elsewhere if not url.startswith(local)] == []
    finally:
        server.kill()


@pytest.mark.skipif(CHROMIUM is None, reason='there is no Chromium: apt install chromium')
def test_image_and_text_file_in_a_browser(page, demo_checkpoint: Path, tmp_path: Path):
    image = Path(example_images(demo_config(), tmp_path)[0])
    result = Trial(demo_config(), demo_checkpoint).look(str(image))
    page.set_input_files('input[type=file]', image)
    page.wait_for_selector('#plan img', timeout=60_000)
    verdict = page.locator('#verdict').inner_text()
    best = max(result['scores']['combined'], key=result['scores']['combined'].get)
    assert f'{image.name}: {best}' in verdict
    width = page.locator('#plan img').evaluate('image => image.naturalWidth')
    assert width == result['plan'].shape[1]

    (tmp_path / 'note.txt').write_text('not a picture')
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / 'black.png')
    page.reload()
    page.wait_for_selector('text=Try the model')
    page.set_input_files('input[type=file]', [tmp_path / 'note.txt', tmp_path / 'black.png'])
    page.wait_for_selector('#message:visible', timeout=60_000)
    assert page.locator('#message').inner_text().startswith('note.txt: not a picture')
    assert 'black.png' in page.locator('#verdict').inner_text()
