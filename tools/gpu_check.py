"""What a CUDA card does with this package, as text for an issue; five minutes.

    python tools/gpu_check.py

Environment; the parity fixtures in float32 and under autocast, with their errors; a demo training
with --amp; a ViT-B/16 training step (time, memory, share of the peak rate), also under
torch.compile; a training of two processes where there are two cards. Without a card it does the
same on the CPU. It needs a checkout: fixtures and benchmark are not in the wheel.

Exit status: 0, everything ran, and float32 is within its bound; 1, not.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from mmengine.logging import MMLogger
from mmengine.utils.dl_utils import collect_env
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

sys.path.insert(0, str(Path(__file__).resolve().parent / 'benchmarks'))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'tests'))

from contenders import DTYPES, Spec, build_package, training_step
from measuring import gflop, machine, matrix_product, medians, peak_gb, rounds_of
from released import FIXTURES, Released, relative_error

REPO = Path(__file__).resolve().parents[1]
DEMO = REPO / 'configs' / 'sotglp_demo_16shot_digits.py'
BOUND = 1e-3
"""Of relative errors in float32. The tests have 1e-5 to 1e-3 on a CPU."""

LOSS_SCALE = 1024.0
"""A power of two, so that gradients in float16 neither vanish nor round differently."""


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--model', default=Spec().model, help='open_clip name or model config')
    parser.add_argument('--classes', type=int, default=100, help='of the training step')
    parser.add_argument('--batch', type=int, default=32, help='of the training step')
    parser.add_argument('--repeats', type=int, default=Spec().repeats, help='of the step')
    parser.add_argument('--epochs', type=int, default=50, help='of the demo training')
    parser.add_argument('--compiler', default='inductor', help='backend of torch.compile')
    return parser.parse_args(argv)


def environment(args: argparse.Namespace) -> Iterator[str]:
    """Versions, processor and cards, the first line of each."""
    for name, value in collect_env().items():
        yield f'- {name}: {str(value).strip().splitlines()[0]}'
    yield f'- Processor: {machine()["cpu"]}, {torch.get_num_threads()} threads'
    for index in range(torch.cuda.device_count()):
        yield f'- Card {index}: {torch.cuda.get_device_properties(index)}'
    if not torch.cuda.is_available():
        yield '- no CUDA card: everything below ran on the CPU'


def parity(args: argparse.Namespace) -> Iterator[str]:
    """Errors against what the released program computed in float32."""
    columns = ('image tokens', 'patch tokens', 'probabilities', 'loss', 'gradient')
    yield 'Relative errors; float32 without TF32, as in `tests/test_parity.py`.'
    yield ''
    yield from _head('fixture', 'precision', *columns)
    beyond = []
    for name in FIXTURES:
        with tempfile.TemporaryDirectory() as folder:
            released = Released(name, Path(folder))
            for precision, dtype in DTYPES.items():
                errors = parity_errors(released, dtype, args.device)
                yield _row(name, precision, *(f'{error:.1e}' for error in errors))
                bound = BOUND if precision == 'fp32' else float('inf')
                if not all(error < bound for error in errors):  # nor is NaN
                    beyond.append(f'{name} in {precision}')
    if beyond:
        raise ArithmeticError(f'beyond the bound of {BOUND:g}, or no number: {", ".join(beyond)}')


def parity_errors(released: Released, dtype: torch.dtype, device: str) -> list[float]:
    """Of the image tower's tokens, probabilities, loss, and gradient of the local prompts."""
    model = MODELS.build(released.model_config())
    released.load_learned(model)
    model.to(device).train()
    kept = released['dropout_index'].to(device)
    model.head._draw_global_prompts = lambda batch_size: kept  # what the released program drew
    images = released['images'].to(device)
    samples = [DataSample().set_gt_label(int(label)) for label in released['labels']]
    autocast = torch.autocast(
        torch.device(device).type, dtype=dtype, enabled=dtype != torch.float32
    )
    with autocast, torch.backends.cudnn.flags(allow_tf32=False):
        feats = model.backbone(images)
        loss = sum(model.loss(images, samples).values())
        (loss * LOSS_SCALE).backward()
        predictions = model.eval().predict(images)
    found = {
        'cls_token': feats.image,
        'patch_tokens': feats.patches,
        'prob': torch.stack([sample.pred_score for sample in predictions]),
        'loss': loss.detach(),
        'grad_local_prompts': model.head.local_prompts.grad / LOSS_SCALE,
    }
    return [relative_error(value.float().cpu(), released[key]) for key, value in found.items()]


def demo(args: argparse.Namespace, processes: int = 1) -> Iterator[str]:
    """Train on the embedded digits with --amp."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ('train_cfg.max_epochs', 'param_scheduler.T_max', 'train_cfg.val_interval')
        options = [f'{name}={args.epochs}' for name in settings]
        flags = ['--amp', '--work-dir', folder, '--cfg-options', *options]
        command: list[str | Path] = [sys.executable, REPO / 'tools' / 'train.py', DEMO, *flags]
        if processes > 1:
            command = [REPO / 'tools' / 'dist_train.sh', DEMO, str(processes), *flags]
        start, env = time.time(), {**os.environ, 'PYTHON': sys.executable}
        done = subprocess.run(command, env=env, text=True, capture_output=True)
        if done.returncode:
            output = f'{done.stdout}{done.stderr}'[-2000:]
            raise RuntimeError(f'training ended with {done.returncode}:\n{output}')
        (log,) = Path(folder).glob('*/vis_data/scalars.json')
        last = [json.loads(line) for line in log.read_text().splitlines()][-1]
        yield (
            f'{args.epochs} epochs of the digits, {processes} process(es): '
            f'{last["accuracy/top1"]:.1f} % top-1, {time.time() - start:.0f} s with its start'
        )


def two_processes(args: argparse.Namespace) -> Iterator[str]:
    """The same on two cards, where there are two."""
    if torch.cuda.device_count() < 2:
        yield f'not run: {torch.cuda.device_count()} card(s)'
    else:
        yield from demo(args, processes=2)


def steps(args: argparse.Namespace) -> Iterator[str]:
    """A training step in each precision, as it is and compiled."""
    yield (
        f'{args.model}, C={args.classes}, B={args.batch}, random weights; {args.repeats} rounds, '
        'medians. The matrix rate is that of one large product on the same device.\n'
    )
    columns = 'step, s', 'images/s', 'GB', 'TFLOP/s', 'of the matrix rate', 'compiled, s'
    yield from _head('precision', *columns)
    failed = []
    settings = {name: value for name, value in vars(args).items() if name in Spec._fields}
    for precision in DTYPES if args.device != 'cpu' else ('fp32', 'bf16'):
        spec = Spec(**settings, precision=precision)
        figures, error = step_figures(spec, args.compiler)
        yield _row(precision, *figures)
        failed += [f'{precision}: {error}'] if error else []
    if failed:
        raise RuntimeError('torch.compile failed; ' + '; '.join(failed))


def step_figures(spec: Spec, compiler: str) -> tuple[list[str], str]:
    """Cells of the table, and why torch.compile failed."""
    package = build_package(spec)
    step = training_step(package, spec)
    product = matrix_product(DTYPES[spec.precision], spec.device)
    if spec.device != 'cpu':
        torch.cuda.reset_peak_memory_stats()
    step()
    step()  # SGD's momentum is there only in the second
    peak = peak_gb() if spec.device == 'cpu' else torch.cuda.max_memory_allocated() / 1e9
    runs = dict(step=step, product=product)
    error = ''
    try:
        compiled = package._replace(loss=torch.compile(package.loss, backend=compiler))
        runs['compiled'] = training_step(compiled, spec)
        runs['compiled']()
    except Exception as failure:  # of the compiler, of which there are many kinds
        error = f'{type(failure).__name__}: {str(failure).strip().splitlines()[0]}'
        del runs['compiled']
    seconds = medians(rounds_of(runs, spec.repeats))
    rate = gflop(step) / seconds['step']
    share = rate / (gflop(product) / seconds['product'])
    cells = [f'{seconds["step"]:.3g}', f'{spec.batch / seconds["step"]:.3g}', f'{peak:.2f}']
    cells += [f'{rate / 1e3:.3g}', f'{share:.0%}']
    return [*cells, f'{seconds["compiled"]:.3g}' if 'compiled' in seconds else 'failed'], error


def _head(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*['---'] * len(cells))


def _row(*cells: str) -> str:
    return f'| {" | ".join(cells)} |'


PARTS: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    'Environment': environment,
    'Parity with the released program': parity,
    'Demo training with --amp': demo,
    'Training step': steps,
    'Two processes': two_processes,
}


def main(argv: list[str] | None = None) -> int:
    """Run every part, and print as it goes; a part that fails does not stop the others."""
    args = parse_args(argv)
    MMLogger.get_current_instance().setLevel('ERROR')  # the report says which weights are used
    failed = []
    for title, part in PARTS.items():
        print(f'\n## {title}\n', flush=True)
        try:
            for line in part(args):
                print(line, flush=True)
        except Exception as error:  # whatever it is belongs into the report
            failed.append(title)
            print(f'\nFAILED: {"".join(traceback.format_exception_only(error)).strip()}')
    print(f'\n{"Failed: " + ", ".join(failed) if failed else "Everything ran."}')
    return int(bool(failed))


if __name__ == '__main__':
    sys.exit(main())
