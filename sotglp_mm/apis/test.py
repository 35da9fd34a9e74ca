"""Test a checkpoint: ``sotglp test CONFIG CHECKPOINT``."""

from copy import deepcopy
from pathlib import Path

import mmengine
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_main_process
from mmengine.evaluator import DumpResults

from ..engine import explaining_lost_process
from ..io.checkpoint_file import check_weights, naming_checkpoint
from ..io.files import check_writable, write_atomically
from .calibration import calibration_for
from .config import build_runner, load_config, loaders_of, metrics_of

OUT_SUFFIXES = dict(metrics=('.json', '.yaml', '.yml', '.pkl'), pred=('.pkl', '.pickle'))


def test(
    config: str | Path,
    checkpoint: str | Path | None,
    *,
    work_dir: str | Path | None = None,
    out: str | Path | None = None,
    out_item: str | None = None,
    amp: bool = False,
    show_dir: str | Path | None = None,
    show: bool = False,
    interval: int = 1,
    wait_time: float = 2,
    tta: bool = False,
    no_pin_memory: bool = False,
    data: str | Path | None = None,
    launcher: str = 'none',
    cfg_options: dict | None = None,
) -> dict[str, float]:
    """Test, as ``sotglp test`` does with flags of these names.

    Returns:
        dict: Value by metric.
    """
    if out_item and not out:
        raise ValueError(f'--out-item {out_item} needs --out FILE')
    out_item, suffixes = out_item or 'pred', OUT_SUFFIXES[out_item or 'pred']
    if out and Path(out).suffix not in suffixes:
        raise ValueError(
            f'--out {out} with --out-item {out_item}: expected a file that ends in '
            f'{", ".join(suffixes)}'
        )
    if out:
        check_writable(out, '--out')
    cfg = load_config(config, cfg_options, work_dir, launcher=launcher, data=data)
    cfg.load_from = str(checkpoint) if checkpoint else None
    if amp:
        cfg.test_cfg.fp16 = True
    if (tta or show or show_dir) and cfg.test_dataloader.dataset.type == 'CachedFeatureDataset':
        raise ValueError(
            '--tta, --show and --show-dir need images, and this config reads cached features; '
            'use the config that the cache was made from, it loads the same checkpoint'
        )
    if show or show_dir:
        cfg.default_hooks.setdefault('visualization', dict(type='VisualizationHook'))
        cfg.default_hooks.visualization.update(
            enable=True,
            show=show,
            wait_time=wait_time,
            out_dir=str(show_dir) if show_dir else None,
            interval=interval,
        )
    if tta:
        use_test_time_augmentation(cfg)
    for loader in loaders_of(cfg) if no_pin_memory else ():
        loader.pin_memory = False
    if cfg.load_from:
        check_weights(cfg.load_from)
        for metric in metrics_of(cfg, 'test_evaluator'):
            kept = calibration_for(cfg, checkpoint) if metric.type == 'CalibrationError' else {}
            if 'model' in kept:  # it is calibrated
                metric.setdefault('temperature', kept['temperature'])
    runner = build_runner(cfg)
    if out and out_item == 'pred':
        runner.test_evaluator.metrics.append(DumpResults(out_file_path=str(out)))
    with naming_checkpoint(cfg.load_from), explaining_lost_process():
        metrics = runner.test()
    if out and out_item == 'metrics':
        text = mmengine.dump(metrics, file_format=Path(str(out)).suffix[1:])
        if is_main_process():
            write_atomically(str(out), text, 'Choose another --out')
    return metrics


def use_test_time_augmentation(cfg: Config) -> None:
    """Wrap the model, and let the test pipeline give several views of an image."""
    pipeline = cfg.test_dataloader.dataset.pipeline
    flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0.0)]
    views = [flips, [pipeline[-1]]]
    flip = [*deepcopy(pipeline[:-1]), dict(type='TestTimeAug', transforms=views)]
    cfg.test_dataloader.dataset.pipeline = cfg.get('tta_pipeline', flip)
    tta_model = cfg.get('tta_model', dict(type='AverageScoresTTA'))
    cfg.model = ConfigDict(**tta_model, module=cfg.model)
