"""Test a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``, with MMPretrain's flags.

For a config that learns nothing, such as ``configs/demo/zero_shot.py``, CHECKPOINT is ``none``.
"""

import argparse
from copy import deepcopy

import mmengine
from mmengine.config import Config, ConfigDict
from mmengine.evaluator import DumpResults
from mmengine.runner import Runner

from ..engine import explaining_lost_process
from ..io.checkpoint_file import check_weights, naming_checkpoint
from .command_line import add_common_arguments, checkpoint_path, finish_config, load_config


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Test (and evaluate) a model')
    parser.add_argument('config', help='path of the config')
    parser.add_argument(
        'checkpoint',
        type=checkpoint_path,
        help='path of the checkpoint; none: the model as the config starts it, e.g. zero-shot',
    )
    parser.add_argument('--out', help='file for the results')
    parser.add_argument(
        '--out-item',
        choices=['metrics', 'pred'],
        help='what --out keeps: metrics (.json, .yaml, .pkl) or, by default, predictions (.pkl)',
    )
    parser.add_argument('--amp', action='store_true', help='mixed precision')
    parser.add_argument('--show-dir', help='folder for pictures of the predictions')
    parser.add_argument('--show', action='store_true', help='show the predictions in a window')
    parser.add_argument('--interval', type=int, default=1, help='draw every so many images')
    parser.add_argument('--wait-time', type=float, default=2, help='seconds to show each')
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: the config's tta_pipeline and tta_model, or else the mean "
        'over the image and its mirror image',
    )
    add_common_arguments(parser)
    args = parser.parse_args()
    if args.out_item and not args.out:
        parser.error('--out-item says what to keep; give the file with --out')
    return args


def apply_arguments(cfg: Config, args: argparse.Namespace) -> None:
    """Flags that only testing has."""
    cfg.load_from = args.checkpoint
    if args.amp:
        cfg.test_cfg.fp16 = True
    if args.tta or args.show or args.show_dir:
        _check_images(cfg)
    if args.show or args.show_dir:
        cfg.default_hooks.setdefault('visualization', dict(type='VisualizationHook'))
        cfg.default_hooks.visualization.update(
            enable=True,
            show=args.show,
            wait_time=args.wait_time,
            out_dir=args.show_dir,
            interval=args.interval,
        )
    if args.tta:
        use_test_time_augmentation(cfg)


def _check_images(cfg: Config) -> None:
    if cfg.test_dataloader.dataset.type == 'CachedFeatureDataset':
        raise ValueError(
            '--tta, --show and --show-dir need images, and this config reads cached features; '
            'use the config that the cache was made from, it loads the same checkpoint'
        )


def use_test_time_augmentation(cfg: Config) -> None:
    """Wrap the model, and let the test pipeline give several views of an image."""
    pipeline = cfg.test_dataloader.dataset.pipeline
    views = [
        [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)],
        [pipeline[-1]],
    ]
    flip = [*deepcopy(pipeline[:-1]), dict(type='TestTimeAug', transforms=views)]
    cfg.test_dataloader.dataset.pipeline = cfg.get('tta_pipeline', flip)
    tta_model = cfg.get('tta_model', dict(type='AverageScoresTTA'))
    cfg.model = ConfigDict(**tta_model, module=cfg.model)


def main() -> None:
    """Test."""
    args = parse_args()
    cfg = load_config(args)
    apply_arguments(cfg, args)
    finish_config(cfg, args)
    if cfg.load_from:
        check_weights(cfg.load_from)
    runner = Runner.from_cfg(cfg)
    if args.out and args.out_item != 'metrics':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=args.out))
    with naming_checkpoint(cfg.load_from), explaining_lost_process():
        metrics = runner.test()
    if args.out_item == 'metrics':
        mmengine.dump(metrics, args.out)


if __name__ == '__main__':
    main()
