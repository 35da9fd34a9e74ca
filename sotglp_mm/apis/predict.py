"""Predict your own images: label, probability, the next classes, and how out of place they are.

    python tools/predict.py CONFIG CHECKPOINT photo.jpg folder 'holiday/**/*.png'
    python tools/predict.py CONFIG CHECKPOINT folder --out predictions.csv
    python tools/predict.py CONFIG CHECKPOINT folder --calibrate validation_images

Class names come from the checkpoint, so no dataset has to be on disk. Images are prepared as in
testing (the config's test pipeline): every mode becomes RGB, EXIF orientation is applied, 16-bit
grey is scaled. For a config that learns nothing, such as configs/demo/zero_shot.py, CHECKPOINT is
none, and class names are the config's.

The OOD score is lower for images that look like the known classes; with --calibrate or
--threshold each image is called known (score <= threshold) or unknown.
Exit status: 0; 1, some image could not be read or found (the others were predicted); 2, none was
found, or the command line, config or checkpoint cannot be used.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import Config, DictAction
from mmengine.device import get_device
from mmengine.registry import DefaultScope

from ..structures import OOD_FIELDS
from sotglp_cli import checkpoint_path
from .predict_files import Failure, NoImagesError, find_images
from .predict_model import build_model, displayed_names, predict_config
from .predict_report import as_rows, failure_lines, table, write_report
from .predict_run import TPR, run_model, threshold_at_tpr, with_rounding


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add('config', help='path of the config')
    add('checkpoint', type=checkpoint_path, help='path of the checkpoint; none: nothing learned')
    add('paths', nargs='+', metavar='PATH', help='image, folder (with all below it) or glob')
    add('--out', type=Path, metavar='FILE', help='.json or .csv file for the results')
    add('--batch-size', type=_positive, default=32, help='images at a time (default 32)')
    add('--num-workers', type=_natural, default=2, help='processes that read images (default 2)')
    add('--device', default=get_device(), help='cpu, cuda, cuda:1, ... (default %(default)s)')
    add('--topk', type=_positive, default=5, help='classes to name for each image (default 5)')
    add(
        '--ood',
        choices=list(OOD_FIELDS),
        help='OOD score (default: gl_mcm where the head has local prompts, else mcm); its '
        'temperature is model.head.ood_tau',
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        '--calibrate',
        nargs='+',
        metavar='PATH',
        help=f'images of known classes (not those trained on): the threshold accepts {TPR:.0%}',
    )
    known.add_argument('--threshold', type=float, help='of the OOD score; known if at most this')
    add('--cfg-options', nargs='+', action=DictAction, metavar='KEY=VALUE', help='as in test.py')
    return parser


def _natural(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f'expected a number of at least 0, got {number}')
    return number


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'expected a number of at least 1, got {number}')
    return number


def main(arguments: list[str] | None = None) -> int:
    """Predict; the exit status."""
    parser = make_parser()
    args = parser.parse_intermixed_args(arguments)  # images may follow flags
    if args.out and args.out.suffix.lower() not in ('.json', '.csv'):
        parser.error(f'--out {args.out}: expected a .json or .csv file')
    try:
        paths, failures = find_images(args.paths)
        calibration, more = find_images(args.calibrate) if args.calibrate else (None, [])
        cfg = predict_config(args)
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            return predict(args, cfg, paths, calibration, failures + more)
    except (NoImagesError, OSError, ValueError, RuntimeError) as error:
        print(f'predict.py: {error}', file=sys.stderr)
        return 2


def predict(
    args: argparse.Namespace,
    cfg: Config,
    paths: list[str],
    calibration: list[str] | None,
    failures: list[Failure],
) -> int:
    """Run, print and write; 1 if an image could not be read, or there were failures before."""
    model = build_model(cfg, args.checkpoint, args.device)
    loader = dict(batch_size=args.batch_size, num_workers=args.num_workers)
    threshold, ood = args.threshold, None
    if cfg.ood_method:
        tau = model.head.ood_tau
        ood = dict(name=f'{cfg.ood_method}_T{tau:g}', method=cfg.ood_method, temperature=tau)
    if calibration:
        found, more = run_model(model, cfg, calibration, loader, 1, 'calibrating')
        failures = [*failures, *more]
        threshold = _calibrated(found, ood)
    predictions, more = run_model(model, cfg, paths, loader, args.topk, 'predicting')
    failures = list(dict.fromkeys([*failures, *more]))
    if ood:
        ood['threshold'] = threshold
    names = displayed_names(model, args.checkpoint)
    limit = None if threshold is None else with_rounding(threshold, ood['temperature'])
    rows = as_rows(predictions, names, limit)
    print(table(rows, ood and ood['name']))
    if threshold is not None:
        print(f'\n{_threshold_line(ood)}')
    if args.out:
        failed = [failure._asdict() for failure in failures]
        report = dict(config=args.config, checkpoint=args.checkpoint, classes=names, ood=ood)
        write_report(args.out, dict(report, predictions=rows, failed=failed))
        print(f'\nwritten to {args.out}')
    if failures:
        print(f'\n{failure_lines(failures)}', file=sys.stderr)
    return 1 if failures else 0


def _calibrated(found: list, ood: dict) -> float:
    scores = [prediction.ood_score for prediction in found]
    if not scores:
        raise ValueError('none of the images of --calibrate could be read')
    threshold = threshold_at_tpr(scores)
    limit = with_rounding(threshold, ood['temperature'])
    accepted = sum(score <= limit for score in scores) / len(scores)
    ood['calibration'] = dict(images=len(scores), asked=TPR, accepted=accepted)
    return threshold


def _threshold_line(ood: dict) -> str:
    text = f'known: {ood["name"]} <= {ood["threshold"]:.6g}'
    if 'calibration' not in ood:
        return text
    of = ood['calibration']
    return (
        f'{text}, the threshold that accepts {of["asked"]:.0%} of {of["images"]} images of '
        f'--calibrate ({of["accepted"]:.1%} exactly)'
    )


if __name__ == '__main__':
    sys.exit(main())
