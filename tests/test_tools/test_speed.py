"""Benchmark and check of a GPU: a plain implementation, counts, measuring, command lines."""

import json
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from mini_runs import REPO, run_tool
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from process_group import run_script
from small_clip import CONFIG, classifier, write_clip, write_model

sys.path.insert(0, str(REPO / 'tools'))
sys.path.insert(0, str(REPO / 'tools' / 'benchmarks'))

import gpu_check
import measuring
import speed
from contenders import Spec, build_package, build_plain, training_step
from measuring import gflop, median_ratio, rounds_of
from plain_method import PlainMethod
from report import STEP_KEYS, fit, updated_page

from sotglp_mm.models import prompt_text_encoder

NAMES = ['tench', 'great white shark', 'tiger_shark']
SMALL = ['--classes', 3, '--batch', 2, '--k', 4, '--local-prompts', 2, '--repeats', 2]


@pytest.fixture
def both(tmp_path):
    """The package's model and the plain method, with the same random prompts and projection."""
    head = dict(type='SOTGLPHead', class_names=NAMES, num_global_prompts=3, num_local_prompts=2)
    head['selector'] = dict(type='SparsePatchSelector', k=4)
    model = MODELS.build(classifier(write_clip(tmp_path), head=head))
    towers = model.towers
    plain = PlainMethod(towers.clip, towers.text.tokenizer, NAMES, num_global=3, num_local=2, k=4)
    torch.manual_seed(5)
    for ours, theirs in pairs(model, plain):
        ours.data += 0.1 * torch.randn_like(ours)
        theirs.data.copy_(ours)
    return model, plain


def pairs(model, plain):
    return [
        (model.head.global_prompts, plain.global_prompts),
        (model.head.local_prompts, plain.local_prompts),
        (model.neck.local_projection.weight, plain.local_projection),
    ]


def test_plain_method_is_the_package_method(both):
    model, plain = both
    images, labels = torch.randn(4, 3, 12, 12), torch.tensor([0, 2, 1, 2])
    samples = [DataSample().set_gt_label(label) for label in labels]
    torch.manual_seed(0)  # prompt dropout draws
    losses = model.head.loss(model.neck(model.backbone(images)), samples)
    torch.manual_seed(0)
    plain_losses = plain.losses(images, labels)
    torch.testing.assert_close(plain_losses[0], losses['loss_global'], rtol=1e-5, atol=0)
    torch.testing.assert_close(plain_losses[1], losses['loss_local'], rtol=1e-5, atol=0)
    sum(losses.values()).backward()
    sum(plain_losses).backward()
    for ours, theirs in pairs(model, plain):
        assert ours.grad.norm() > 0
        error = (theirs.grad - ours.grad).norm() / ours.grad.norm()
        assert error < 1e-4


def test_plain_prediction_is_the_package_prediction(both):
    model, plain = (each.eval() for each in both)
    images = torch.randn(4, 3, 12, 12)
    predictions = model.head.predict(model.neck(model.backbone(images)))
    text = [plain.encode_text(each) for each in (plain.global_prompts, plain.local_prompts)]
    expected = torch.stack([each.pred_score for each in predictions])
    torch.testing.assert_close(plain.predict(images, *text), expected, rtol=1e-4, atol=1e-6)


@pytest.fixture(scope='module')
def spec(tmp_path_factory):
    model = write_model(tmp_path_factory.mktemp('clip'))
    return Spec(model, classes=3, batch=2, k=4, local_prompts=2, repeats=2)


def test_products_are_counted_forward_and_backward():
    a, b = torch.randn(3, 5, requires_grad=True), torch.randn(5, 7, requires_grad=True)
    assert gflop(lambda: a @ b) * 1e9 == 2 * 3 * 5 * 7
    assert gflop(lambda: (a @ b).sum().backward()) * 1e9 == 3 * 2 * 3 * 5 * 7


def test_fused_attention_is_counted():
    attention = torch.nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(1, 6, 8)
    products = 4 * (2 * 6 * 8 * 8) + 2 * (2 * 6 * 6 * 8)
    with torch.no_grad():  # where torch fuses all of it
        assert gflop(lambda: attention(x, x, x, need_weights=False)) * 1e9 == products


def test_image_tower_computes_what_both_streams_need(spec):
    """Two layers; the last one's ordinary stream is needed at [CLS] alone."""
    w, m, patches = 24, 96, 9
    tokens = patches + 1
    values = 4 * w * patches * tokens + 2 * w * w * patches
    first = tokens * (8 * w * w + 4 * w * m + 4 * w * tokens) + values
    last = tokens * 4 * w * w + (4 * w * w + 4 * w * m + 4 * w * tokens) + values
    expected = 2 * 3 * 4 * 4 * w * patches + first + last
    assert CONFIG['vision_cfg'] == dict(
        image_size=12, patch_size=4, layers=2, width=w, head_width=8
    )
    assert gflop(build_package(spec).encode_image) * 1e9 == spec.batch * expected


def test_plain_text_runs_over_all_positions(spec):
    package = build_package(spec)
    ours = gflop(lambda: package.encode_text())
    assert gflop(build_plain(spec, package).encode_text) > 6 * ours  # 77 positions, not some 8


def test_text_that_is_encoded_again_is_counted_again(spec, monkeypatch):
    package = build_package(spec)
    forward = gflop(package.encode_text)
    both = gflop(lambda: speed._text_both(package))
    monkeypatch.setattr(prompt_text_encoder, 'ACTIVATION_BYTES', 1000)
    again = gflop(lambda: speed._text_both(package))
    # all but what stands before the names, and the first layer's way back to what does not learn
    assert both == pytest.approx(2 * forward, rel=0.15)
    assert both + 0.7 * forward < again <= both + forward
    kept = build_package(spec._replace(keep=True))
    assert gflop(lambda: speed._text_both(kept)) == both


def test_runs_take_turns():
    order = []
    runs = {
        'short': lambda: order.append('s') or time.sleep(0.03),
        'long': lambda: order.append('l') or time.sleep(0.06),
    }
    rounds = rounds_of(runs, repeats=2)
    assert ''.join(order) == 'ssllssll'  # once to warm up, once to measure
    assert 0.03 <= rounds[0]['short'] <= rounds[0]['long']
    assert median_ratio(rounds, 'long', 'short') == pytest.approx(2, rel=0.3)


def test_a_backward_pass_between_steps_where_text_is_encoded_again(spec, monkeypatch):
    monkeypatch.setattr(prompt_text_encoder, 'ACTIVATION_BYTES', 1000)
    package = build_package(spec)
    step = training_step(package, spec)
    step()
    rounds = rounds_of(speed._parts(package, spec, 'step_s', step), repeats=2)
    # the forward pass before it does not count
    assert 0 < rounds[1]['backward_s'] < rounds[1]['step_s']


def test_median_ratio_compares_within_a_round():
    # the second round was ten times slower for both
    rounds = [{'a': 2, 'b': 1}, {'a': 20, 'b': 10}, {'a': 2, 'b': 1}]
    assert median_ratio(rounds, 'a', 'b') == 2


def test_memory_above_sees_what_is_freed_again():
    """In a process of its own, as it is used: this one may have as much that is free already."""
    size = 100_000_000
    code = f'import torch, measuring as m; print(m.memory_above(lambda: torch.ones({size // 4})))'
    command, folder = [sys.executable, '-c', code], REPO / 'tools' / 'benchmarks'
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    assert float(done.stdout) * 1e9 == pytest.approx(size, rel=0.05)


def test_fit():
    line = dict(slope=2, intercept=3, r2=1)
    found = fit([1, 2, 4], [5, 7, 11])
    assert {key: found[key] for key in line} == pytest.approx(line)
    assert fit([1, 2, 4], [3, 12, 48])['log_slope'] == pytest.approx(2)
    # by hand: slope 0.5, residuals 1/6, -1/3, 1/6 of a variance of 2/3
    assert fit([1, 2, 3], [1, 1, 2])['r2'] == pytest.approx(0.75)
    assert fit([4], [1])['slope'] is None


def test_scaling_changes_one_size_at_a_time(spec, capsys, monkeypatch):
    measured = []

    def step(work, each, *_):
        measured.append((each.classes, each.batch, each.k, each.local_prompts))
        grows = dict(step_s=1.0 + 2 * each.classes, peak_gb=float(each.batch**2))
        machine = dict(cpu='some', threads=1, torch='0')
        return {**dict.fromkeys(STEP_KEYS, 1.0), **grows, 'machine': machine}

    monkeypatch.setattr(speed, 'in_own_process', step)
    sizes = ['--classes', '3', '--batch', '2', '--k', '4', '--local-prompts', '2']
    speed.main(['scaling', *sizes, '--factors', '1', '2', '--class-factors', '1', '2', '4'])
    each_twice = [(6, 2, 4, 2), (12, 2, 4, 2), (3, 4, 4, 2), (3, 2, 8, 2), (3, 2, 4, 4)]
    assert sorted(measured) == sorted([(3, 2, 4, 2), *each_twice])
    page = capsys.readouterr().out
    assert '| over C | training step, s | 2 | 1 | 1 |' in page
    assert '| over B | peak memory of the process, GB | 6 | -8 | 1 | 2 |' in page
    assert '| over N | local branch, s | 0 | 1 |' in page


def test_growth_is_fitted_to_the_counts(spec, capsys, monkeypatch):
    def once(work, each, training):
        assert work is speed.once
        found = dict(s=float(each.classes * (2 if training else 1)), peak_gb=1.0 + training)
        return dict(found, machine=dict(cpu='a processor', threads=7, torch='2'))

    monkeypatch.setattr(speed, 'in_own_process', once)
    speed.main(['growth', '--batch', '2', '--class-counts', '3', '6', '12'])
    page = capsys.readouterr().out
    assert '(random weights), B=2, ' in page and 'a processor, 7 threads' in page
    assert '; the second run of each\n' in page
    assert '| C=6 | 12 | 2 | 6 | 1 |' in page
    assert '| training step, s | 2 | ' in page
    with pytest.raises(SystemExit):
        speed.main(['growth'])
    assert 'growth needs --class-counts' in capsys.readouterr().err


@pytest.mark.parametrize('training', [True, False])
def test_a_point_of_growth(spec, training: bool):
    found = speed.once(spec, training)
    assert 0.1 < found['peak_gb'] < 3
    assert found['s'] > 0


def test_tables_go_into_the_page_that_has_the_command():
    text = '```bash\nsome command\n```\n\nnew\n\n| table |'
    page = '# A\n\n## B\n\nsaid\n\n```bash\nsome command\n```\n\nold\n\n## C\n\nlast\n'
    expected = f'# A\n\n## B\n\nsaid\n\n{text}\n\n## C\n\nlast\n'
    assert updated_page(page, text) == expected
    assert updated_page(page.partition('\n## C')[0], text) == expected.partition('\n## C')[0]
    with pytest.raises(ValueError, match=r'(?s)does not have this command.*another'):
        updated_page(page, text.replace('some', 'another'))


def figures(monkeypatch, folder, spec, *arguments):
    """The JSON of a command, without processes of its own."""
    monkeypatch.setattr(speed, 'in_own_process', lambda work, *args: work(*args))
    monkeypatch.setattr(measuring, 'GEMM_SHAPE', (64, 32, 48))
    file = folder / 'figures.json'
    speed.main([*map(str, [*arguments, '--model', spec.model, *SMALL, '--json', file])])
    return json.loads(file.read_text())


def test_predict_in_bfloat16(monkeypatch, tmp_path, spec):
    found = figures(monkeypatch, tmp_path, spec, 'predict', '--precision', 'bf16', '--plain')
    assert found['step_s'] == found['batch_s']
    assert found['images_per_s'] == pytest.approx(2 / found['batch_s'])
    assert found['gflop'] == pytest.approx(
        found['matrix_share'] * found['batch_s'] * found['matrix_gflop_per_s']
    )
    assert found['plain'].keys() >= {'text_forward_s', 'image_forward_s', 'batch_s', 'peak_gb'}


def test_local(monkeypatch, tmp_path, spec):
    found = figures(monkeypatch, tmp_path, spec, 'local', '--plain', '--rank', 'mean')
    product = 2 * 2 * 3 * 9 * 2 * 10  # B, C, P, N, D
    assert found['product']['gflop'] * 1e9 == pytest.approx(3 * product)
    # patches are ranked by one number a class, then K N cosines; their gradients are gathered sums
    assert found['gflop'] * 1e9 == pytest.approx(product / 2 + 2 * 2 * 3 * 4 * 2 * 10)
    assert found['local_forward_ratio'] > 0
    keys = {'local_s', 'local_forward_s', 'backward_s', 'local_memory_gb', 'peak_gb'}
    for each in (found, found['product'], found['plain']):
        assert each.keys() >= keys


def test_former_command(tmp_path, spec):
    file = tmp_path / 'figures.json'
    command = ['benchmark.py', 'train-step', '--model', spec.model, *SMALL, '--json', file]
    done = run_tool(command, tmp_path)
    assert done.returncode == 0, done.stderr
    assert '| training step, s |' in done.stdout
    found = json.loads(file.read_text())
    assert found.keys() >= {*STEP_KEYS, 'text_both_s', 'text_matrix_share'}
    assert 0.1 < found['peak_gb'] < 3
    assert found['settings']['classes'] == 3


def test_a_dead_process_is_named():
    with pytest.raises(SystemExit, match='process that measures raise_signal died'):
        speed.in_own_process(signal.raise_signal, signal.SIGKILL)


SHORT = """
_base_ = ['{base}']
train_dataloader = dict(dataset=dict(num_shots=4), num_workers=0)
val_dataloader = dict(dataset=dict(indices=20), num_workers=0)
"""


def test_every_part_on_the_cpu(tmp_path, monkeypatch, capfd):
    demo = tmp_path / 'short.py'
    demo.write_text(SHORT.format(base=gpu_check.DEMO))
    monkeypatch.setattr(gpu_check, 'DEMO', demo)

    def run(command, env, **_):
        """The training, without the seconds that imports take."""
        return run_script([str(word) for word in command[1:]], env)

    monkeypatch.setattr(gpu_check, 'subprocess', SimpleNamespace(run=run))
    model = REPO / 'sotglp_mm' / 'demo' / 'assets' / 'sotglp_demo.json'
    small = ['--device', 'cpu', '--model', str(model), '--classes', '3', '--batch', '2']
    small += ['--repeats', '1', '--epochs', '1', '--compiler', 'eager']
    assert gpu_check.main(small) == 0
    printed = capfd.readouterr().out
    assert f'PyTorch: {torch.__version__}' in printed and '% top-1' in printed
    assert printed.count('| released_tiny ') == printed.count('| released_tiny_noproj ') == 3
    assert printed.count('\n| fp32 | ') == printed.count('\n| bf16 | ') == 1  # training steps
    assert printed.endswith('Everything ran.\n')


@pytest.mark.parametrize('error', [0.1, float('nan')])
def test_an_error_beyond_the_bound_is_a_failure(monkeypatch, capsys, error):
    parts = {'Parity': gpu_check.parity, 'Two processes': gpu_check.two_processes}
    monkeypatch.setattr(gpu_check, 'PARTS', parts)
    monkeypatch.setattr(gpu_check, 'parity_errors', lambda *arguments: [0.0, error])
    assert gpu_check.main(['--device', 'cpu']) == 1
    printed = capsys.readouterr().out
    assert 'FAILED: ArithmeticError: beyond the bound of 0.001' in printed
    assert '## Two processes' in printed and printed.endswith('Failed: Parity\n')
