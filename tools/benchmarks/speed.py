"""Time and memory of training and evaluation, beside a plain implementation.

    python tools/benchmarks/speed.py train-step --classes 20 --batch 4 --plain --json step.json
    python tools/benchmarks/speed.py predict --classes 100 --batch 8
    python tools/benchmarks/speed.py exported --classes 100 --batch 8
    python tools/benchmarks/speed.py local --classes 1000 --batch 32
    python tools/benchmarks/speed.py scaling
    python tools/benchmarks/speed.py growth --class-counts 20 100 1000 10000

Images and, unless --pretrained is given, CLIP's weights are random: neither changes the work.
Seconds are medians over rounds in which everything that is compared takes turns. Each peak of
memory is that of a process of its own. The matrix rate is the best of the rounds.
"""

import argparse
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from contenders import (
    DTYPES,
    Contender,
    Spec,
    build_package,
    build_plain,
    in_precision,
    training_step,
    unit_features,
)
from measuring import (
    Backward,
    Run,
    gflop,
    machine,
    matrix_product,
    median_ratio,
    medians,
    memory_above,
    peak_gb,
    resident_gb,
    rounds_of,
)
from mmengine.logging import MMLogger
from report import STEP_KEYS, SWEPT, as_markdown, fit, updated_page
from torch import Tensor
from tqdm import tqdm

from sotglp_cli import positive
from sotglp_mm.apis.export import to_onnx, to_pt2, trace
from sotglp_mm.functional.patch_support import RANKS
from sotglp_mm.models.exported_classifier import ExportedClassifier

COUNTS = dict(
    classes='C',
    batch='B',
    k='K, patches of a support',
    local_prompts='N, of each class',
    global_prompts='G',
    threads="torch's own number by default",
    repeats='rounds',
)

LOCAL = ('package', 'product', 'plain')
FITTED = ('local_s', 'step_s', 'peak_gb')
"""What a line is fitted to in each sweep. Every prompt is encoded, so a step grows with N; the
local branch need not do so, nor with K."""


def in_own_process(work: Callable[..., dict], *arguments: object) -> dict:
    """Figures of a process that does nothing else, so that no peak of memory hides another."""
    try:
        with ProcessPoolExecutor(1, mp_context=get_context('spawn')) as pool:
            return pool.submit(_quietly, work, *arguments).result()
    except BrokenProcessPool:
        sys.exit(
            f'benchmark: the process that measures {work.__name__} died. Was memory too small? '
            'Try fewer classes, or leave out --plain'
        )


def _quietly(work: Callable[..., dict], *arguments: object) -> dict:
    MMLogger.get_current_instance().setLevel('ERROR')  # the tables say which CLIP it is
    return work(*arguments)


def train_step(spec: Spec, plain: bool = False) -> dict:
    """Times, memory and shares of a training step of the package, and times of the plain one."""
    package = build_package(spec)
    step = training_step(package, spec)
    memory = _warm_up(step)  # before anything else is built
    runs = {'package': _parts(package, spec, 'step_s', step)}
    if plain:
        other = build_plain(spec, package)
        runs['plain'] = _parts(other, spec, 'step_s', training_step(other, spec))
    runs['open_clip'] = dict(encode_image_s=in_precision(spec, package.clip_image))
    runs['package']['text_both_s'] = in_precision(spec, partial(_text_both, package))
    figures = _measured(runs, spec, 'step_s')
    # the tower is frozen: the way back has as many operations; what is computed again is no need
    rate = 2 * gflop(package.encode_text) / figures['text_both_s']
    return memory | figures | dict(text_matrix_share=rate / figures['matrix_gflop_per_s'])


@torch.no_grad()
def predict(spec: Spec, plain: bool = False) -> dict:
    """Times, memory and shares of evaluating a batch; text is encoded once, before it."""
    package = build_package(spec, training=False)
    evaluate = in_precision(spec, package.predict)
    memory = _warm_up(evaluate)
    runs = {'package': _parts(package, spec, 'batch_s', evaluate)}
    if plain:
        other = build_plain(spec, package)
        other.predict()  # encodes the text
        runs['plain'] = _parts(other, spec, 'batch_s', in_precision(spec, other.predict))
    runs['open_clip'] = dict(encode_image_s=in_precision(spec, package.clip_image))
    figures = _measured(runs, spec, 'batch_s')
    return memory | figures | dict(images_per_s=spec.batch / figures['batch_s'])


@torch.no_grad()
def exported(spec: Spec, plain: bool = False) -> dict:
    """Evaluating a batch, beside the programs that ``sotglp export`` writes."""
    package = build_package(spec, training=False)
    classifier = ExportedClassifier(package.module).eval()
    program = trace(classifier, package.images)
    runs = {('package', 'batch_s'): package.predict}
    for name, make in dict(onnx=to_onnx, torch_export=to_pt2).items():
        run = make(program, classifier.output_names, '').run
        runs[name, 'batch_s'] = partial(run, package.images)
    rounds = rounds_of(runs, spec.repeats)
    figures: dict = {name: {key: value} for (name, key), value in medians(rounds).items()}
    for name in ('onnx', 'torch_export'):
        ratio = median_ratio(rounds, (name, 'batch_s'), ('package', 'batch_s'))
        figures[f'{name}_over_package'] = ratio
    return figures.pop('package') | figures | dict(machine=machine())


def local(spec: Spec, plain: bool = False) -> dict:
    """The local branch from unit features to the loss and back, beside the full product."""
    package = build_package(spec)
    names = LOCAL if plain else LOCAL[:2]
    return _measured({name: _local_runs(package, name, spec) for name in names}, spec, 'local_s')


def plain_memory(spec: Spec, training: bool) -> dict:
    plain = build_plain(spec, build_package(spec, training))
    with torch.set_grad_enabled(training):
        run = training_step(plain, spec) if training else in_precision(spec, plain.predict)
        return _warm_up(run)


def local_memory(spec: Spec, name: str) -> dict:
    """Memory of the local branch above its inputs (gradients are above), and the peak."""
    package = build_package(spec)
    # a small run makes libraries allocate what they keep
    _local_runs(package, name, spec._replace(batch=1, classes=2))['local_s']()
    run = _local_runs(package, name, spec)['local_s']
    built = peak_gb()  # memory_above may make the kernel forget it
    above = memory_above(run)
    return dict(local_memory_gb=above, peak_gb=max(built, peak_gb()))


def scaling(
    spec: Spec,
    step: Callable[[Spec], dict],
    factors: Sequence[float] = (0.5, 1, 2, 4),
    class_factors: Sequence[float] = (0.5, 1, 2, 4, 8, 16),
) -> dict:
    """Training steps over C, B, K and N, one changed at a time, with fits.

    Returns:
        dict: The figures of the base, and ``sweeps``: by setting ``values``, each of
        ``STEP_KEYS`` as a list, and ``fits``.
    """
    values = {
        name: sorted({max(1, round(getattr(spec, name) * each)) for each in chosen})
        for name, chosen in zip(SWEPT, (class_factors, factors, factors, factors))
    }
    points = [spec._replace(**{name: value}) for name in SWEPT for value in values[name]]
    found: dict[Spec, dict] = {}
    for point in tqdm([spec, *points], desc='configurations', disable=None):
        if point not in found:  # the base is a point of every sweep
            found[point] = step(point)
    sweeps = {}
    for name in SWEPT:
        rows = [found[spec._replace(**{name: value})] for value in values[name]]
        sweep = {'values': values[name], **{key: [row[key] for row in rows] for key in STEP_KEYS}}
        fits = {key: fit(values[name], sweep[key]) for key in FITTED}
        sweeps[name] = {**sweep, 'fits': fits}
    return {**found[spec], 'sweeps': sweeps}


def growth(spec: Spec, class_counts: Sequence[int]) -> dict:
    """Time and memory of a training step, and of evaluating a batch, over C, with fits."""
    points = [
        (spec._replace(classes=c), training) for training in (True, False) for c in class_counts
    ]
    found = [
        in_own_process(once, *point) for point in tqdm(points, desc='configurations', disable=None)
    ]
    steps, batches = found[: len(class_counts)], found[len(class_counts) :]
    columns = {
        f'{name}{key}': [row[key] for row in rows]
        for name, rows in (('step_', steps), ('batch_', batches))
        for key in ('s', 'peak_gb')
    }
    fits = {key: fit(class_counts, values) for key, values in columns.items()}
    measured = dict(values=class_counts, **columns, fits=fits)
    return dict(growth=measured, machine=found[0]['machine'])  # with its number of threads


def once(spec: Spec, training: bool) -> dict:
    """Memory of two training steps, or evaluations, and seconds of the second."""
    package = build_package(spec, training)
    with torch.set_grad_enabled(training):
        run = training_step(package, spec) if training else in_precision(spec, package.predict)
        run()  # SGD's momentum is there only in the second; text is evaluated only in the first
        start = time.perf_counter()  # torch's timer would run it four times: hours at C=10,000
        run()
        return dict(s=time.perf_counter() - start, peak_gb=peak_gb(), machine=machine())


def _text_both(package: Contender) -> None:
    outputs: Any = package.encode_text()
    torch.autograd.backward(outputs, [torch.ones_like(each) for each in outputs])


def _parts(contender: Contender, spec: Spec, total: str, run: Run) -> dict[str, Run]:
    """A training step, or evaluation of a batch, and its parts, without neck, losses and SGD."""
    patches, text = unit_features(contender, spec)
    runs = {
        'text_forward_s': in_precision(spec, contender.encode_text),
        'image_forward_s': in_precision(spec, contender.encode_image),
        'local_s': lambda: contender.local_scores(patches, text),
        total: run,
    }
    if torch.is_grad_enabled():
        runs['backward_s'] = Backward(in_precision(spec, contender.loss))
    return runs


def _local_runs(package: Contender, name: str, spec: Spec) -> dict[str, Run]:
    """Forward, backward and both, from features to the loss; 'product': to all similarities."""
    patches, text = unit_features(package, spec)
    labels = torch.randint(spec.classes, (spec.batch,))
    contender = build_plain(spec, package) if name == 'plain' else package
    dense = torch.randn(*patches.shape[:2], *text.shape[:2]) if name == 'product' else None

    def forward() -> Tensor:
        if name == 'product':
            return torch.einsum('bpd,cnd->bpcn', patches, text)
        return F.cross_entropy(package.scale * contender.local_scores(patches, text), labels)

    def both() -> None:
        forward().backward(dense)
        patches.grad = text.grad = None

    out = forward()
    return {
        'local_forward_s': forward,
        'backward_s': lambda: out.backward(dense, retain_graph=True),
        'local_s': both,
    }


def _warm_up(run: Run) -> dict[str, float]:
    """How much memory the model took, and the peak of two runs."""
    before = resident_gb()
    run()
    run()  # SGD's momentum is there only in the second
    return dict(model_gb=before, peak_gb=peak_gb())


def _measured(runs: dict[str, dict[str, Run]], spec: Spec, total: str) -> dict:
    """Figures of the package, those of the others below their names; ``total`` is compared."""
    flat = {(name, key): run for name, own in runs.items() for key, run in own.items()}
    flat['matrix', 's'] = matrix_product(DTYPES[spec.precision])
    rounds = rounds_of(flat, spec.repeats)
    seconds = medians(rounds)
    by_name = {name: {key: seconds[name, key] for key in own} for name, own in runs.items()}
    for name in by_name.keys() - {'open_clip'}:
        by_name[name]['gflop'] = gflop(runs[name][total])
    figures: dict = by_name.pop('package') | by_name.pop('open_clip', {}) | by_name
    ours = ('package', total)
    for key, one, other in (
        ('plain_over_package', ('plain', total), ours),
        ('local_ratio', ours, ('product', total)),
        (
            'local_forward_ratio',
            ('package', 'local_forward_s'),
            ('product', 'local_forward_s'),
        ),
        ('image_ratio', ('package', 'image_forward_s'), ('open_clip', 'encode_image_s')),
    ):
        if {one, other} <= flat.keys():
            figures[key] = median_ratio(rounds, one, other)
    # the best: a busy machine must not make it, and with it a share, look better
    product = gflop(flat['matrix', 's'])
    figures['matrix_gflop_per_s'] = product / min(each['matrix', 's'] for each in rounds)
    rate = figures['gflop'] / figures[total]
    return figures | dict(matrix_share=rate / figures['matrix_gflop_per_s'], machine=machine())


JOBS = {'train-step': train_step, 'predict': predict, 'exported': exported, 'local': local}


def measure(what: str, spec: Spec, plain: bool = False, **factors: list) -> dict:
    """All figures of a command."""
    if what == 'growth':
        return growth(spec, **factors)
    if what == 'scaling':
        return scaling(spec, partial(in_own_process, train_step), **factors)
    result = in_own_process(JOBS[what], spec, plain)
    if what == 'local':
        for name, figures in {'package': result, **result}.items():
            if name in LOCAL:
                figures |= in_own_process(local_memory, spec, name)
    elif plain:
        result['plain'] |= in_own_process(plain_memory, spec, what == 'train-step')
    return result


def parse_args(argv: list[str]) -> argparse.Namespace:
    """The command line; settings that are not on it are missing."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument
    add('what', choices=[*JOBS, 'scaling', 'growth'])
    for name, text in COUNTS.items():
        add(f'--{name.replace("_", "-")}', type=positive, metavar='N', help=text)
    add('--model', help='open_clip name or model config; ViT-B-16 by default')
    add('--pretrained', help='open_clip tag or checkpoint; random by default')
    add('--precision', choices=('fp32', 'bf16'), help='of the computation; fp32. Not for local')
    add('--plain', action='store_true', help='the plain implementation too. Not for scaling')
    add('--json', type=Path, metavar='FILE', help='write all figures there')
    text = 'put the tables into this page, where it has the command, up to the next heading'
    add('--page', type=Path, metavar='FILE', help=text)
    add('--factors', type=float, nargs='+', help='of B, K and N, for scaling')
    add('--class-factors', type=float, nargs='+', help='of C, for scaling')
    add('--class-counts', type=positive, nargs='+', help='C of each row, for growth')
    add('--rank', choices=RANKS, help='of the selector; mean')
    add(
        '--keep', action='store_true', help='all of text for the backward pass: no second encoding'
    )
    args = parser.parse_args(argv)
    sweeps = {'factors', 'class_factors', 'class_counts'}
    useless = {
        'local': sweeps | {'precision'},
        'exported': sweeps | {'precision', 'plain'},
        'scaling': {'plain', 'class_counts'},
        'growth': {'plain', 'classes', 'repeats', 'factors', 'class_factors'},
    }.get(args.what, sweeps)
    for name in useless & vars(args).keys():
        parser.error(f'--{name.replace("_", "-")} has no effect on {args.what}')
    if args.what == 'growth' and 'class_counts' not in args:
        parser.error('growth needs --class-counts, e.g. 20 100 1000 10000')
    return args


def main(argv: list[str]) -> None:
    """Measure; print the tables, and write the figures if asked to."""
    args = vars(parse_args(argv))
    what, file, page = args.pop('what'), args.pop('json', None), args.pop('page', None)
    # the longest steps take most of a minute: few of each, and a base that is small
    base = Spec(classes=40, repeats=2) if what == 'scaling' else Spec()
    spec = base._replace(**{name: args.pop(name) for name in Spec._fields if name in args})
    result = measure(what, spec, **args)
    outputs = {'--json', '--page'}
    shown = [word for before, word in zip(['', *argv], argv) if not {before, word} & outputs]
    result['command'] = shlex.join(['python', 'tools/benchmarks/speed.py', *shown])
    result['settings'] = spec._asdict()
    text = as_markdown(result, spec)
    print(text)
    if page:
        page.write_text(updated_page(page.read_text('utf-8'), text), 'utf-8')
    if 'batch_s' in result:
        result['step_s'] = result['batch_s']  # what programs look for
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(result, indent=2) + '\n')


if __name__ == '__main__':
    main(sys.argv[1:])
