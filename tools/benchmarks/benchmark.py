"""Time and memory of training and evaluation, beside a plain implementation.

    python tools/benchmarks/benchmark.py train-step --classes 20 --batch 4 --plain --json step.json
    python tools/benchmarks/benchmark.py predict --classes 100 --batch 8
    python tools/benchmarks/benchmark.py local --classes 1000 --batch 32
    python tools/benchmarks/benchmark.py scaling --plot scaling.png

Images and, unless --pretrained is given, CLIP's weights are random: neither changes the work.
Seconds are medians over rounds in which everything that is compared runs in turn. Each peak of
memory is that of a process of its own. What counts as a necessary operation is written in
tools/_bench_operations.py; the matrix rate is the best of many float32 (or bfloat16) products in
the same run.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path

from bench_plot import figure_class, plot
from bench_report import ALIASES, as_markdown, as_text
from bench_scaling import scaling

WORKER = '_worker'
OUTPUTS = dict(json='all figures', plot='a picture', markdown='the tables of docs/performance.md')
CONTENDERS = ('package', 'product', 'plain')
STEP_KEYS = ('text_forward_s', 'image_forward_s', 'local_s', 'backward_s', 'step_s', 'peak_gb')
"""What every JSON has of these, where it applies: programs read them."""


class WorkerFailed(RuntimeError):
    """A measuring process did not come back with figures."""


def parse_args(argv: list[str] | None = None) -> Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest='what', required=True)
    # abbreviated flags would escape _command, which quotes the command in the results
    add = partial(commands.add_parser, allow_abbrev=False)
    train = add('train-step', help='one step of training, phase by phase')
    train.add_argument(
        '--step-only', action='store_true', help='leave out the text tower and encode_image alone'
    )
    evaluate = add('predict', help='evaluation of a batch')
    local = add('local', help='the local branch, forward and backward, float32')
    sweep = add('scaling', help='training steps over C, B, K and N, with fits')
    sweep.add_argument(
        '--factors',
        type=float,
        nargs='+',
        default=[0.5, 1, 2, 4],
        help='what B, K and N are multiplied by in turn',
    )
    sweep.add_argument(
        '--class-factors',
        type=float,
        nargs='+',
        default=[0.5, 1, 2, 4, 8, 16],
        help='what C is multiplied by: enough of them beyond the point where text is recomputed',
    )
    for command in (train, evaluate, local, sweep):
        _add_common(command)
    # the longest steps take most of a minute: few of each, and a base that is small
    sweep.set_defaults(classes=40, repeats=2, warmup=2)
    for command in (train, evaluate, local):
        command.add_argument(
            '--plain', action='store_true', help='also time the plain implementation'
        )
    for command in (train, evaluate, sweep):
        command.add_argument(
            '--precision', choices=('fp32', 'bf16'), default='fp32', help='of the computation'
        )
    defaults = dict(plain=False, precision='fp32', step_only=False)
    return Namespace(**{**defaults, **vars(parser.parse_args(argv))})


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--classes', type=_count, default=100, help='C')
    parser.add_argument('--batch', type=_count, default=8, help='B')
    parser.add_argument('--k', type=_count, default=10, help='K, patches of a support')
    parser.add_argument('--local-prompts', type=_count, default=4, help='N, of each class')
    parser.add_argument('--global-prompts', type=_count, default=3, help='G')
    parser.add_argument('--model', default='ViT-B-16', help='open_clip name or model config')
    parser.add_argument('--pretrained', help='open_clip tag or checkpoint; random by default')
    parser.add_argument('--threads', type=_count, help="torch's own number by default")
    parser.add_argument('--repeats', type=_count, default=5, help='rounds')
    parser.add_argument(
        '--warmup',
        type=_count,
        default=2,
        help='runs before the first round, for training at least 2',
    )
    parser.add_argument('--seed', type=int, default=0, help='of weights and images')
    parser.add_argument('--quiet', action='store_true', help='no progress bars')
    for output, what in OUTPUTS.items():
        parser.add_argument(f'--{output}', type=Path, metavar='FILE', help=f'write {what} there')


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{text} is not a positive number')
    return number


def measure(spec: Namespace, job: str, **changes) -> dict:
    """Run a job of ``_bench_workers.py`` in a process of its own.

    Raises:
        WorkerFailed: It ended without figures.
    """
    asked = {k: v for k, v in vars(spec).items() if k not in OUTPUTS}
    asked |= dict(job=job, **changes)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / 'figures.json'
        command = [sys.executable, __file__, WORKER, json.dumps(asked), str(out)]
        code = subprocess.run(command).returncode
        if code:
            ended = f'was killed by signal {-code}' if code < 0 else f'ended with status {code}'
            advice = '; too little memory? try fewer classes' if code == -9 else ''
            raise WorkerFailed(f'the process that measures {job} {ended}{advice}')
        return json.loads(out.read_text())


def run(spec: Namespace) -> dict:
    """All figures of a command."""
    if spec.what == 'scaling':
        found = scaling(spec, lambda each: measure(each, 'train_step', step_only=True, quiet=True))
        return {**{key: found['base'][key] for key in STEP_KEYS}, **found}
    return _with_step_keys(_run_local(spec) if spec.what == 'local' else _run_model(spec))


def _with_step_keys(result: dict) -> dict:
    """Figures under the names that a training step has for them, of all that is compared."""
    for figures in (result, *(result[name] for name in CONTENDERS if name in result)):
        for name, same in ALIASES.items():
            if name in figures:
                figures[same] = figures[name]
    return result


def _run_model(spec: Namespace) -> dict:
    job = spec.what.replace('-', '_')
    if not spec.plain:
        return measure(spec, job)
    try:
        peak = measure(spec, f'{job}_peak_plain')['peak_gb']
    except WorkerFailed as failure:  # it needs far more memory than the package
        return {**measure(spec, job, plain=False), 'plain': {'failed': str(failure)}}
    result = measure(spec, job)
    result['plain']['peak_gb'] = peak
    return result


def _run_local(spec: Namespace) -> dict:
    result = measure(spec, 'local')
    for name in CONTENDERS:
        if name == 'package' or name in result:
            figures = result if name == 'package' else result[name]
            found = measure(spec, 'local_memory', contender=name)
            figures |= {key: found[key] for key in ('local_memory_gb', 'peak_gb')}
    return result


def _command(argv: list[str]) -> str:
    """The command without where its results went: a page may quote it."""
    kept, skip = [], False
    for word in argv:
        name = word.split('=')[0]
        if not skip and name not in {f'--{output}' for output in OUTPUTS}:
            kept.append(word)
        skip = not skip and name == word and name in {f'--{output}' for output in OUTPUTS}
    return shlex.join(['python', 'tools/benchmarks/benchmark.py', *kept])


def write(result: dict, spec: Namespace) -> None:
    """Print the tables and write what was asked for."""
    print(as_text(result))
    writers = {
        'json': lambda file: file.write_text(json.dumps(result, indent=2) + '\n'),
        'markdown': lambda file: file.write_text(as_markdown(result)),
        'plot': lambda file: plot(result, file),
    }
    for output, writer in writers.items():
        file = getattr(spec, output)
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            writer(file)
            print(f'{output}: {file}')


def main(argv: list[str]) -> None:
    """Measure, or, in a process of its own, do one measurement."""
    if argv[:1] == [WORKER]:
        from bench_workers import work  # torch stays out of the process that only waits

        spec, out = Namespace(**json.loads(argv[1])), Path(argv[2])
        out.write_text(json.dumps(work(spec)))
        return
    spec = parse_args(argv)
    if spec.plot:
        figure_class()
    try:
        result = run(spec)
    except WorkerFailed as failure:
        sys.exit(f'benchmark: {failure}')
    settings = {k: v for k, v in vars(spec).items() if k not in (*OUTPUTS, 'quiet')}
    write({**result, 'settings': settings, 'command': _command(argv)}, spec)


if __name__ == '__main__':
    main(sys.argv[1:])
