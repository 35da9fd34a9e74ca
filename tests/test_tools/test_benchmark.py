"""The benchmark: its plain implementation, its counts, its measuring, its command line."""

import json
import sys
import time
from argparse import Namespace

import pytest
import torch
from mini_runs import REPO, run_tool
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from small_clip import write_clip, write_model

sys.path.insert(0, str(REPO / 'tools' / 'benchmarks'))

import benchmark
from bench_measure import Clock, MatrixRate, median_ratio, memory_above
from bench_model import TrainStep, build_model, recomputed
from bench_operations import Tower, image_operations, local_operations, text_operations
from bench_plot import figure_class, plot
from bench_report import as_markdown
from bench_scaling import fit, regimes, scaling
from bench_workers import _warm_up
from plain_method import PlainMethod

NAMES = ['tench', 'great white shark', 'tiger_shark']
SIZES = dict(classes=3, batch=2, k=4, local_prompts=2, global_prompts=3)
SMALL = ['--classes', 3, '--batch', 2, '--k', 4, '--local-prompts', 2, '--repeats', 2, '--quiet']
PHASES = ('text_forward_s', 'image_forward_s', 'local_s', 'backward_s')
TOWER = Tower(layers=2, width=2, mlp_width=3, joint_width=5)


@pytest.fixture
def both(tmp_path):
    """The package's model and the plain method, with the same random prompts and projection."""
    clip = write_clip(tmp_path)
    head = dict(
        type='SOTGLPHead', clip=clip, class_names=NAMES, num_global_prompts=3, num_local_prompts=2
    )
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='OpenCLIPViT', clip=clip),
            neck=dict(type='LocalProjectionNeck', clip=clip),
            head={**head, 'selector': dict(type='SparsePatchSelector', k=4)},
        )
    )
    towers = model.head.towers
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


def test_text_operations_by_hand():
    # d = 2, m = 3, D = 5; a position through the first block: 8*4 + 4*2*3 = 56, and 4*2 = 8 for
    # each position it sees; through the last: 4*4 = 16. [EOT]: 16 + 24 + 8 * seen + 2*2*5 = 20.
    sos = 56 + 8 * 1 + 16
    context = 56 + 8 * 2 + 16
    name, eot = 56 + 8 * 3 + 16, 56 + 8 * 4 + 16 + (16 + 24 + 8 * 4 + 20)
    assert text_operations(TOWER, [1], 1, num_global=1, num_local=0) == sos + context + name + eot
    # a second class has its own name and [EOT]; a shared context is not run again, ...
    shared = sos + context + 2 * (name + eot)
    assert text_operations(TOWER, [1, 1], 1, num_global=1, num_local=0) == shared
    # ... a context of the class's own is
    own = 2 * (context + name + eot)
    assert text_operations(TOWER, [1, 1], 1, num_global=0, num_local=1) == sos + own
    assert text_operations(TOWER, [1, 1], 1, num_global=1, num_local=1) == shared + own


def test_image_operations_by_hand():
    # one patch of 6 values, hence two tokens; w = 2, m = 3
    embed = 2 * 6 * 2
    values = 4 * 2 * 1 * 2 + 2 * 4 * 1  # one patch attends to two, and is projected
    first = 2 * (6 * 4 + 2 * 4 + 4 * 2 * 3 + 4 * 2 * 2) + values
    last = 2 * 4 * 4 + (2 * 4 + 2 * 4 + 4 * 2 * 3 + 4 * 2 * 2) + values
    assert image_operations(TOWER, num_patches=1, patch_values=6) == embed + first + last


def test_local_operations_by_hand():
    counts = local_operations(2, 3, num_patches=7, k=4, num_local=5, joint_width=11)
    assert counts['forward'] == 2 * 2 * 3 * 7 * 11 + 2 * 2 * 3 * 4 * 5 * 11
    assert counts['backward'] == 2 * (2 * 2 * 3 * 4 * 5 * 11)


def test_clock_times_calls_of_one_object():
    clock, waiter = Clock(), Namespace(wait=time.sleep)
    clock.watch(waiter, 'wait', 'waited_s')
    with clock.phase('all_s'):
        waiter.wait(0.02)
        waiter.wait(0.03)
    seconds = clock.take('waited_s', 'all_s')
    assert 0.05 <= seconds['waited_s'] <= seconds['all_s']
    with pytest.raises(RuntimeError, match='nothing was timed as waited_s'):
        clock.take('waited_s')


def test_matrix_rate_is_the_best_of_its_runs(monkeypatch):
    rate = MatrixRate(torch.float32)
    ticks = iter([0, 4, 10, 12, 20, 23])  # three runs, of 4, 2 and 3 seconds
    monkeypatch.setattr(time, 'perf_counter', lambda: next(ticks))
    rate.measure(runs=3)
    assert rate.per_second == 2 * 4096 * 512 * 2048 / 2


def test_median_ratio_compares_within_a_round():
    # the second round was ten times slower for both
    rounds = [{'a': 2, 'b': 1}, {'a': 20, 'b': 10}, {'a': 2, 'b': 1}]
    assert median_ratio(rounds, 'a', 'b') == 2


def test_memory_above_sees_what_is_freed_again():
    size = 300_000_000
    found = memory_above(lambda: torch.ones(size // 4))
    assert found == pytest.approx(size, rel=0.05)


def test_fit():
    found = fit([1, 2, 4], [5, 7, 11])
    assert found['slope'] == pytest.approx(2)
    assert found['intercept'] == pytest.approx(3)
    assert found['r2'] == pytest.approx(1)
    assert fit([1, 2, 4], [3, 12, 48])['log_slope'] == pytest.approx(2)
    # by hand: slope 0.5, residuals 1/6, -1/3, 1/6 of a variance of 2/3
    assert fit([1, 2, 3], [1, 1, 2])['r2'] == pytest.approx(0.75)
    assert fit([4], [1])['slope'] is None


def test_scaling_changes_one_size_at_a_time(tmp_path):
    spec = Namespace(**SIZES, factors=[1, 2], class_factors=[1, 2, 4], quiet=True)
    measured = []

    def measure(each):
        measured.append((each.classes, each.batch, each.k, each.local_prompts))
        figures = dict.fromkeys(
            ('text_forward_s', 'image_forward_s', 'local_s', 'backward_s'), 1.0
        )
        again = float(each.classes > 5)
        grows = dict(step_s=1.0 + 2 * each.classes, peak_gb=float(each.batch**2))
        grows['recomputed'] = again
        return {**figures, **grows, 'machine': MACHINE, 'versions': {'torch': '0'}}

    result = scaling(spec, measure)
    each_twice = [(6, 2, 4, 2), (12, 2, 4, 2), (3, 4, 4, 2), (3, 2, 8, 2), (3, 2, 4, 4)]
    assert sorted(measured) == sorted([(3, 2, 4, 2), *each_twice])
    assert result['sweeps']['classes']['values'] == [3, 6, 12]
    assert result['sweeps']['classes']['fits']['step_s']['slope'] == pytest.approx(2)
    assert result['sweeps']['batch']['fits']['peak_gb']['log_slope'] == pytest.approx(2)
    assert result['sweeps']['k']['fits']['step_s']['slope'] == 0

    result |= dict(settings=SETTINGS, command='python tools/benchmarks/benchmark.py scaling')
    page = as_markdown(result)
    assert '| over C | training step, s | 2 | 1 | 1 |' in page
    assert '| over C=6 to 12, text recomputed | training step, s | 2 | 1 | 1 |' in page
    assert '| over C=3 to 3, all kept | training step, s | - | - | - | - |' in page
    assert '| over N | local branch, s | 0 | 1 | 1 |' in page
    plot(result, tmp_path / 'scaling.png')
    assert (tmp_path / 'scaling.png').stat().st_size > 10_000


def test_each_regime_has_a_line_of_its_own():
    sweep = dict(values=[1, 2, 4, 8], recomputed=[0.0, 0.0, 0.5, 1.0])
    found = regimes(dict(**sweep, step_s=[5.0, 6.0, 20.0, 32.0], peak_gb=[1.0, 2.0, 3.0, 3.0]))
    assert found['all kept']['values'] == [1, 2]
    assert found['all kept']['fits']['step_s']['slope'] == pytest.approx(1)
    assert found['text recomputed']['values'] == [4, 8]
    assert found['text recomputed']['fits']['step_s']['slope'] == pytest.approx(3)
    assert found['text recomputed']['fits']['peak_gb']['slope'] == 0


def test_recomputed_is_a_share_of_the_prompts(model_name, monkeypatch):
    from sotglp_mm.models import prompt_text_encoder

    head = build_model(Namespace(**SIZES, model=model_name, pretrained=None)).head
    assert recomputed(head) == 0
    monkeypatch.setattr(prompt_text_encoder, 'ACTIVATION_BYTES', 0)
    assert recomputed(head) == 1
    head.text_encoder.class_chunk = None
    assert recomputed(head) == 0


def test_the_peak_is_read_after_two_steps():
    parameter = torch.nn.Linear(1, 1)
    calls = []

    def losses():
        calls.append(1)
        for name in TrainStep.PHASES[:3]:
            with step.clock.phase(name):
                pass
        return [parameter(torch.ones(1)).sum()]

    step = TrainStep(losses, parameter, Clock(), 'fp32')
    assert _warm_up(step, Namespace(warmup=1, quiet=True))['peak_gb'] > 0
    assert len(calls) == 2  # the first one made the momentum
    _warm_up(lambda: calls.append(1), Namespace(warmup=1, quiet=True))
    assert len(calls) == 3


def test_scaling_has_small_sizes_and_few_rounds_by_default():
    spec = benchmark.parse_args(['scaling'])
    assert (spec.classes, spec.repeats) == (40, 2)
    assert max(spec.class_factors) * spec.classes == 640
    assert benchmark.parse_args(['train-step']).classes == 100


def test_scaling_carries_the_figures_of_its_base(monkeypatch):
    figures = dict.fromkeys(benchmark.STEP_KEYS, 2.0) | dict(recomputed=0.0)
    measured = {**figures, 'machine': MACHINE, 'versions': {}}
    monkeypatch.setattr(benchmark, 'measure', lambda *_, **__: dict(measured))
    found = benchmark.run(benchmark.parse_args(['scaling', '--quiet']))
    assert all(found[key] == 2.0 for key in benchmark.STEP_KEYS)


MACHINE = dict(cpu='some', threads=1)
SETTINGS = dict(**SIZES, model='tiny', pretrained=None, precision='fp32', repeats=1)


@pytest.fixture(scope='module')
def model_name(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('clip'))


def results(folder, model_name, *arguments):
    """The JSON of a command."""
    file = folder / 'figures.json'
    command = ['benchmark.py', *arguments, '--model', model_name, *SMALL, '--json', file]
    done = run_tool(command, folder)
    assert done.returncode == 0, done.stderr
    return json.loads(file.read_text()), done.stdout


def test_train_step_command(tmp_path, model_name):
    page, picture = tmp_path / 'page.md', tmp_path / 'plot.png'
    outputs = ['--markdown', page, '--plot', picture]
    found, printed = results(tmp_path, model_name, 'train-step', '--plain', *outputs)
    for figures in (found, found['plain']):
        assert all(0 < figures[key] < figures['step_s'] for key in PHASES)
        assert figures['peak_gb'] > 0.05
    assert found['plain_over_package'] > 0
    assert found['image_ratio'] > 0
    assert 0 < found['text_matrix_share'] < 1
    assert 0 < found['matrix_share'] < 1
    assert found['machine']['cpu']
    assert found['settings']['classes'] == 3
    assert 'training step, s' in printed
    assert '| training step, s |' in page.read_text()
    assert str(tmp_path / 'page.md') not in page.read_text()  # what it quotes runs elsewhere
    assert picture.stat().st_size > 10_000


def test_predict_command_in_bfloat16(tmp_path, model_name):
    found, printed = results(tmp_path, model_name, 'predict', '--precision', 'bf16')
    assert found['image_forward_s'] < found['batch_s']
    assert found['text_forward_s'] > 0
    assert found['images_per_s'] == pytest.approx(2 / found['batch_s'])
    assert found['step_s'] == found['batch_s']
    assert found['peak_gb'] > 0.05
    assert 'training step, s' not in printed
    assert 'plain' not in found


def test_local_command(tmp_path, model_name):
    found, _ = results(tmp_path, model_name, 'local')
    for figures in (found, found['product']):
        assert 0 < figures['local_forward_s'] < figures['local_s']
        assert figures['backward_s'] == figures['local_backward_s']
        assert figures['local_memory_gb'] >= 0
        assert figures['peak_gb'] > 0.05
    assert found['local_ratio'] > 0


def test_necessary_operations_follow_the_model(model_name):
    from bench_model import necessary_operations

    spec = Namespace(**SIZES, model=model_name, pretrained=None)
    found = necessary_operations(build_model(spec), spec)
    vision = Tower(layers=2, width=24, mlp_width=96, joint_width=10)
    assert found['image_forward'] == 2 * image_operations(vision, 9, patch_values=3 * 4 * 4)
    text = Tower(layers=1, width=16, mlp_width=64, joint_width=10)
    # 'tench' is two tokens of CLIP's vocabulary, 'goldfish' one, 'great white shark' three
    assert found['text_forward'] == text_operations(text, [2, 1, 3], 4, 3, 2)


def test_a_dead_process_is_named(monkeypatch, capsys):
    monkeypatch.setattr(benchmark.subprocess, 'run', lambda *_, **__: Namespace(returncode=-9))
    with pytest.raises(SystemExit, match='measures train_step was killed by signal 9; too little'):
        benchmark.main(['train-step'])


def test_plain_may_fail_alone(monkeypatch):
    def measure(spec, job, **changes):
        if 'plain' in job:
            raise benchmark.WorkerFailed('no memory')
        return dict(step_s=1.0, asked_plain={**vars(spec), **changes}['plain'])

    monkeypatch.setattr(benchmark, 'measure', measure)
    found = benchmark.run(benchmark.parse_args(['train-step', '--plain']))
    assert found == dict(step_s=1.0, asked_plain=False, plain=dict(failed='no memory'))


def test_plot_without_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib.figure', None)
    with pytest.raises(SystemExit, match='needs matplotlib'):
        benchmark.main(['train-step', '--plot', 'figure.png'])
    with pytest.raises(SystemExit, match='needs matplotlib'):
        figure_class()
