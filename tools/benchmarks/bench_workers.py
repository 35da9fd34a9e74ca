"""The measurements. Each runs in a process of its own, so that no peak hides another."""

from argparse import Namespace
from collections.abc import Callable

import torch
from bench_local import local, local_memory
from bench_measure import (
    GB,
    Clock,
    MatrixRate,
    machine,
    median_ratio,
    medians,
    peak_bytes,
    resident_bytes,
    versions,
)
from bench_model import (
    DTYPES,
    TrainStep,
    autocast,
    build_model,
    build_plain,
    necessary_operations,
    package_losses,
    random_batch,
    recomputed,
    watch_package,
    watch_plain,
)
from mmengine.logging import MMLogger
from torch import nn
from tqdm import trange


def work(spec: Namespace) -> dict:
    """Run the measurement that ``spec.job`` names."""
    # the table says that the weights are random; not once more from each process
    MMLogger.get_instance('benchmark', log_level='ERROR')
    torch.manual_seed(spec.seed)
    if spec.threads:
        torch.set_num_threads(spec.threads)
    return {**JOBS[spec.job](spec), 'machine': machine(), 'versions': versions()}


def train_step(spec: Namespace) -> dict:
    """Times, peak and shares of a training step of the package, and times of the plain one."""
    model, clock = build_model(spec), Clock()
    watch_package(model, clock)
    images, labels = random_batch(model, spec.batch)
    step = TrainStep(package_losses(model, images, labels), model, clock, spec.precision)
    figures = _warm_up(step, spec)  # the peak is read before anything else is built
    contenders = {'package': step}
    if not spec.step_only:
        contenders['text'] = lambda: _text_alone(model.head, clock, spec.precision)
        contenders['encode_image'] = lambda: _encode_image(model, images, spec.precision)
    if spec.plain:
        contenders['plain'] = _plain_step(model, images, labels, spec)
    rate, rounds = _interleave(contenders, spec)

    operations = necessary_operations(model, spec)
    figures |= dict(recomputed=recomputed(model.head))
    figures |= medians(rounds['package'])
    figures |= _shares(operations, rate, figures['step_s'])
    if not spec.step_only:
        figures |= _text_share(operations, rate, rounds['text'])
        figures |= _image_ratio(rounds)
    if spec.plain:
        figures |= _beside_plain(rounds, 'step_s')
    return figures


def train_peak_plain(spec: Namespace) -> dict:
    """Peak of the plain training step."""
    model = build_model(spec)
    images, labels = random_batch(model, spec.batch)
    return _warm_up(_plain_step(model, images, labels, spec), spec)


def predict(spec: Namespace) -> dict:
    """Times and peak of evaluation: encoding the prompts, then batch after batch."""
    model, clock = build_model(spec).eval(), Clock()
    watch_package(model, clock)
    images, _ = random_batch(model, spec.batch)

    def run() -> dict[str, float]:
        model.head.train(False)  # forgets the text features
        feats = model.neck(model.backbone(images))
        clock.take()
        model.head.scores(feats)
        text = clock.take('text_forward_s')['text_forward_s']
        with clock.phase('batch_s'):
            model.head.predict(model.neck(model.backbone(images)))
        return {**clock.take('image_forward_s', 'local_s', 'batch_s'), 'text_forward_s': text}

    package = _evaluating(run, spec)
    figures = _warm_up(package, spec)
    contenders = {'package': package}
    contenders['encode_image'] = lambda: _encode_image(model, images, spec.precision)
    if spec.plain:
        contenders['plain'] = _plain_predict(model, images, spec)
    rate, rounds = _interleave(contenders, spec)

    operations = necessary_operations(model, spec)
    evaluated = ('image_forward', 'local_forward')
    figures |= medians(rounds['package'])
    figures |= _shares({k: operations[k] for k in evaluated}, rate, figures['batch_s'])
    figures |= _image_ratio(rounds)
    figures['images_per_s'] = spec.batch / figures['batch_s']
    if spec.plain:
        figures |= _beside_plain(rounds, 'batch_s')
    return figures


def predict_peak_plain(spec: Namespace) -> dict:
    """Peak of plain evaluation."""
    model = build_model(spec).eval()
    images, _ = random_batch(model, spec.batch)
    return _warm_up(_plain_predict(model, images, spec), spec)


JOBS = dict(
    train_step=train_step,
    train_step_peak_plain=train_peak_plain,
    predict=predict,
    predict_peak_plain=predict_peak_plain,
    local=local,
    local_memory=local_memory,
)


def _warm_up(run: Callable, spec: Namespace) -> dict[str, float]:
    """Run until caches are warm; how much memory the model took, and the peak."""
    before = resident_bytes()
    # a first training step ends with SGD's momentum: only the second runs beside it
    runs = max(spec.warmup, 2) if isinstance(run, TrainStep) else spec.warmup
    for _ in trange(runs, desc='warm-up', disable=spec.quiet, leave=False):
        run()
    return dict(model_gb=before / GB, peak_gb=peak_bytes() / GB)


def _interleave(contenders: dict[str, Callable], spec: Namespace) -> tuple[MatrixRate, dict]:
    """Rounds in which each contender runs once, with the matrix rate taken in between."""
    rate = MatrixRate(DTYPES[spec.precision])
    rounds: dict[str, list] = {name: [] for name in contenders}
    for name, run in contenders.items():
        if name != 'package':  # which is warm already
            run()
    for _ in trange(spec.repeats, desc='rounds', disable=spec.quiet, leave=False):
        for name, run in contenders.items():
            rate.measure()
            rounds[name].append(run())
    return rate, rounds


def _plain_step(model: nn.Module, images, labels, spec: Namespace) -> TrainStep:
    plain, clock = build_plain(model, spec), Clock()
    watch_plain(plain, clock)
    return TrainStep(lambda: plain.losses(images, labels), plain, clock, spec.precision)


def _plain_predict(model: nn.Module, images, spec: Namespace) -> Callable:
    plain, clock = build_plain(model, spec), Clock()
    watch_plain(plain, clock)

    def run() -> dict[str, float]:
        prompts = (plain.global_prompts, plain.local_prompts)
        text = [plain.encode_text(each) for each in prompts]
        with clock.phase('batch_s'):
            plain.predict(images, *text)
        return clock.take('text_forward_s', 'image_forward_s', 'local_s', 'batch_s')

    return _evaluating(run, spec)


def _evaluating(run: Callable, spec: Namespace) -> Callable:
    def evaluate() -> dict[str, float]:
        with torch.no_grad(), autocast(spec.precision):
            return run()

    return evaluate


def _text_alone(head: nn.Module, clock: Clock, precision: str) -> dict[str, float]:
    """Forward and backward of the text tower without anything behind it."""
    prompts = (head.global_prompts, head.local_prompts)
    with clock.phase('text_s'):
        with autocast(precision):
            features = [head.text_encoder(each) for each in prompts]
        torch.autograd.backward(features, [torch.ones_like(each) for each in features])
    for each in prompts:
        each.grad = None
    return clock.take('text_s')


@torch.no_grad()
def _encode_image(model: nn.Module, images, precision: str) -> dict[str, float]:
    """open_clip's own image embedding, one stream."""
    clock = Clock()
    with autocast(precision), clock.phase('encode_image_s'):
        model.backbone.towers.clip.encode_image(images)
    return clock.take()


def _shares(operations: dict[str, int], rate: MatrixRate, seconds: float) -> dict:
    """Necessary operations, the rate, and how much of the rate the operations came to."""
    total = sum(operations.values())
    return dict(
        necessary_gflop_by_part={name: count / 1e9 for name, count in operations.items()},
        necessary_gflop=total / 1e9,
        **rate.figures,
        matrix_share=total / seconds / rate.per_second,
    )


def _text_share(operations: dict[str, int], rate: MatrixRate, rounds: list) -> dict:
    seconds = medians(rounds)['text_s']
    necessary = operations['text_forward'] + operations['text_backward']
    return dict(
        text_forward_backward_s=seconds,
        text_matrix_share=necessary / seconds / rate.per_second,
    )


def _image_ratio(rounds: dict[str, list]) -> dict[str, float]:
    """Both streams of the package over open_clip's one."""
    both = [{**a, **b} for a, b in zip(rounds['package'], rounds['encode_image'])]
    return dict(
        encode_image_s=medians(rounds['encode_image'])['encode_image_s'],
        image_ratio=median_ratio(both, 'image_forward_s', 'encode_image_s'),
    )


def _beside_plain(rounds: dict[str, list], key: str) -> dict:
    pairs = [
        {'package': a[key], 'plain': b[key]} for a, b in zip(rounds['package'], rounds['plain'])
    ]
    return dict(
        plain=medians(rounds['plain']),
        plain_over_package=median_ratio(pairs, 'plain', 'package'),
    )
