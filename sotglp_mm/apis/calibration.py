"""Temperature of the probabilities and threshold of the OOD score, from validation images."""

import io
import math
import sys
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS, MODELS
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from tqdm import tqdm

from ..class_names.resolve import class_difference, resolve_class_names
from ..datasets.data_identity import class_names_of, identities
from ..engine.run_checks import naming_head
from ..functional import NUM_BINS, OOD_FIELDS, negative_log_likelihood, reliability, tempered
from ..io.checkpoint_file import read_checkpoint
from ..io.files import write_atomically
from ..io.json_file import as_json, differences
from ..utils.tables import print_table
from .config import load_config
from .inference import image_pipeline, load_inferencer

TPR = 0.95
"""Part of the known images that the OOD threshold is to accept."""

KEY = 'calibration'
"""Of a checkpoint's ``meta``."""

LARGEST = 20.0
"""Of the logarithm of a temperature; beyond it, float64 has nothing left to tell."""

OTHERS: dict[str, tuple[str, ...]] = dict(
    backbone=('type', 'cache'),
    neck=('type',),
    head=(
        *('class_names', 'ood_methods', 'ood_tau', 'report_allocation', 'load_shared'),
        *('class_chunk', 'topk', 'cal_acc', 'loss', 'prompt_dropout', 'local_init'),
    ),
)
"""Settings that change no probability."""


def calibrate(
    config: str | Path,
    checkpoint: str | Path,
    *,
    batch_size: int = 32,
    num_workers: int = 2,
    device: str | None = None,
    ood: str | None = None,
    data: str | Path | None = None,
    cfg_options: dict | None = None,
) -> dict[str, Any]:
    """Calibrate a checkpoint, as ``sotglp calibrate`` does with flags of these names.

    The images are those of the split 'val' of the training data, without any that are trained on
    or tested with. From them come one temperature for the combined probabilities, which minimises
    their negative log-likelihood [Guo17]_, and the threshold of the OOD score that accepts 95 % of
    them. Both are kept in the checkpoint, as ``meta['calibration']``, for ``sotglp predict``.

    Returns:
        dict: What is kept: ``temperature`` (1, with ``why``, where none can be fitted), ``ood``
        (``name``, ``method``, ``tau``, ``threshold``, ``accepted``; or None), ``images``, ``nll``
        and ``ece``, in percent, ``bins`` of which, each before and after, on these images; and
        ``model``, the settings that it belongs to.

    Raises:
        ValueError: There are no such images.
    """
    content = read_checkpoint(checkpoint)
    if 'state_dict' not in content:
        raise ValueError(
            f"{checkpoint} holds weights alone; expected a run's checkpoint, with 'state_dict'"
        )
    cfg = load_config(config, cfg_options, checkpoint=checkpoint, data=data)
    method = set_ood_score(cfg, ood)
    inferencer = load_inferencer(cfg, checkpoint, device)
    loader = DataLoader(
        validation_images(cfg), batch_size, num_workers=num_workers, collate_fn=default_collate
    )
    if head := naming_head(inferencer.model):
        head.class_names_checked = True  # validation_images compared them
    samples = []
    for batch in tqdm(loader, 'calibrating', unit='batch', file=sys.stderr):
        samples += inferencer.forward(batch)
    probabilities = torch.stack([sample.pred_score.double().cpu() for sample in samples])
    labels = torch.cat([sample.gt_label.cpu() for sample in samples])
    scores = [float(sample.get(OOD_FIELDS[method])) for sample in samples] if method else []
    temperature, why = fit_temperature(probabilities, labels)
    after = tempered(probabilities, temperature)
    found = dict(
        temperature=temperature,
        **(dict(why=why) if why else {}),
        images=len(labels),
        nll=[negative_log_likelihood(each, labels) for each in (probabilities, after)],
        ece=[
            100 * reliability(each.amax(dim=1), each.argmax(dim=1) == labels).error
            for each in (probabilities, after)
        ],
        bins=NUM_BINS,
        ood=ood_threshold(method, cfg.model.head.ood_tau, scores) if method else None,
        model=_settings(cfg),
    )
    content.setdefault('meta', {})[KEY] = found
    stream = io.BytesIO()
    torch.save(content, stream)
    write_atomically(checkpoint, stream.getvalue(), 'Make room and calibrate again')
    _print(found, checkpoint)
    return found


def read_calibration(checkpoint: str | Path | dict | None) -> dict[str, Any] | None:
    """What :func:`calibrate` kept in a checkpoint; None: it is not calibrated.

    Args:
        checkpoint: Its path, or its content.
    """
    if checkpoint is None or '://' in str(checkpoint):
        return None
    content = checkpoint
    if not isinstance(content, dict):
        content = read_checkpoint(content, map_location='meta')
    meta = content.get('meta')
    kept = meta.get(KEY) if isinstance(meta, dict) else None
    if kept is None:
        return None
    temperature = kept.get('temperature') if isinstance(kept, dict) else None
    if not isinstance(temperature, float) or not 0 < temperature < math.inf:
        raise ValueError(
            f"meta['calibration'] of the checkpoint has the temperature {temperature!r}; expected "
            'a number > 0. Run sotglp calibrate again'
        )
    return kept


def calibration_for(cfg: Config, checkpoint: str | Path | None) -> dict[str, Any]:
    """:func:`read_calibration`, or temperature 1; ``ood`` of the config's OOD score, or None.

    ``ValueError`` if it was made with other settings of the model.
    """
    kept = read_calibration(checkpoint) or dict(temperature=1.0, ood=None)
    for key, before, now in differences(kept['model'], _settings(cfg)) if 'model' in kept else ():
        raise ValueError(
            f'{checkpoint} was calibrated with {key} = {before}, and the config has {now}: its '
            'temperature and threshold mean nothing here. Leave the setting as it was, or run '
            'sotglp calibrate with the new one'
        )
    head, ood = cfg.model.get('head') or {}, kept['ood']
    scores = [(method, head.get('ood_tau', 1.0)) for method in head.get('ood_methods', ())]
    return {**kept, 'ood': ood if ood and (ood['method'], ood['tau']) in scores else None}


def validation_images(cfg: Config) -> Dataset:
    """The split 'val' of the training data, but for images that are trained on or tested with."""
    settings = cfg.train_dataloader.dataset
    while 'dataset' in settings:
        settings = settings.dataset
    if 'split' not in settings:
        raise ValueError(
            f'train_dataloader.dataset ({settings.type}) has no split, so no validation images; '
            "expected a dataset with split='val'"
        )
    settings = deepcopy(settings)
    settings.update(split='val', pipeline=image_pipeline(cfg))
    dataset = DATASETS.build(settings)
    theirs = class_names_of(dataset)
    ours = resolve_class_names(cfg.model.head.get('class_names') or theirs)
    if difference := class_difference(ours, theirs, 'the model', 'the validation images'):
        raise ValueError(f'the validation images have other classes: {difference}')
    used = {
        identity
        for name in ('train_dataloader', 'test_dataloader')
        for identity in identities(DATASETS.build(cfg[name].dataset))
    }
    free = [i for i, identity in enumerate(identities(dataset)) if identity not in used]
    if not free:
        raise ValueError(
            f"all {len(dataset)} images of split 'val' of {settings.type} are trained on or "
            'tested with, and those may choose nothing. Give the data validation images of their '
            'own'
        )
    return Subset(dataset, free)


def fit_temperature(probabilities: Tensor, labels: Tensor) -> tuple[float, str | None]:
    """The temperature that minimises the negative log-likelihood, or 1 and why there is none.

    Of ``probabilities``, float64 (B, C), and ``labels``, int64 (B,).
    """
    from scipy.optimize import brentq

    if (probabilities.argmax(dim=1) == labels).all():
        return 1.0, f'all {len(labels)} images are predicted right, so ever smaller fits better'
    logits = probabilities.clamp_min(torch.finfo(torch.float32).tiny).log()
    true = logits.gather(1, labels[:, None])

    def slope(log_temperature: float) -> float:
        """Of the likelihood in 1 / temperature, in which it is convex."""
        weights = (logits / math.exp(log_temperature)).softmax(dim=1)
        return float(((weights * logits).sum(dim=1, keepdim=True) - true).mean())

    if slope(LARGEST) >= 0:
        return 1.0, 'predictions are no better than chance, so ever larger fits better'
    return math.exp(brentq(slope, -LARGEST, LARGEST)), None


def set_ood_score(cfg: Config, asked: str | None = None, is_needed: bool = False) -> str | None:
    """Let the head give one OOD score at one temperature: the one asked for, or its default.

    Returns the method; None where the head has no OOD score. ``ValueError``: there are several
    heads, or there is no score and one is needed.
    """
    head = cfg.model.head
    if 'task_heads' in head:
        raise ValueError(
            'the prediction of one head is shown, and this config has several '
            f'({", ".join(head.task_heads)}); use the config of one of them'
        )
    if not hasattr(MODELS.get(head.type), 'ood_scores'):
        if asked or is_needed:
            raise ValueError(
                f'{head.type} has no OOD score; leave --ood, --calibrate and --threshold out, or '
                'take a config with SOTGLPHead'
            )
        return None
    method = asked or ('gl_mcm' if head.get('num_local_prompts', 4) else 'mcm')
    tau = head.get('ood_tau', 1.0)
    head.ood_methods = [method]
    head.ood_tau = tau[0] if isinstance(tau, (list, tuple)) else tau
    return method


def ood_threshold(method: str, tau: float, scores: Sequence[float]) -> dict[str, Any]:
    """Name and temperature of an OOD score, and the threshold from scores of known images."""
    threshold = threshold_at_tpr(scores)
    limit = with_rounding(threshold, tau)
    accepted = sum(score <= limit for score in scores) / len(scores)
    about = dict(name=f'{method}_T{tau:g}', method=method, tau=tau)
    return dict(about, threshold=threshold, accepted=accepted)


def threshold_at_tpr(scores: Sequence[float], tpr: float = TPR) -> float:
    """The smallest score that occurs and accepts at least a part ``tpr`` of the known images.

    An image is accepted if its score is at most the threshold, as in ``OODMetric``.
    """
    ordered = sorted(scores)
    # ceil, in whole numbers: 0.95 * 20 is 19.000000000000004 for some factors of 0.95
    needed = -(-round(tpr * 1000) * len(ordered) // 1000)
    return ordered[max(needed, 1) - 1]


def with_rounding(threshold: float, tau: float) -> float:
    """The largest score that counts as the threshold: equal images differ by rounding.

    Which images share a batch changes cosines by up to 1e-6 or so, and a score, a softmax of
    cosines over ``tau``, by that part of itself over ``tau``; 2e-7 is float32's own.
    """
    return threshold + abs(threshold) * (1e-6 / tau + 2e-7)


def _settings(cfg: Config) -> dict:
    """What probabilities depend on beside the weights; CLIP is compared when these are loaded."""
    model, kept = cfg.model.to_dict(), {}
    for name, others in OTHERS.items():
        part = model.get(name) or {}
        kept[name] = {k: v for k, v in part.items() if k not in ('clip', *others)}
    return as_json(kept)


def _print(found: dict, checkpoint: str | Path) -> None:
    rows = [
        ['negative log-likelihood', *(f'{value:.4f}' for value in found['nll'])],
        [f'calibration error, {NUM_BINS} bins, %', *(f'{value:.1f}' for value in found['ece'])],
    ]
    print_table([f'on these {found["images"]} validation images', 'before', 'after'], rows)
    why = f', not fitted: {found["why"]}' if 'why' in found else ''
    print(f'\ntemperature: {found["temperature"]:.4g}{why}')
    if found['ood']:
        ood = found['ood']
        print(
            f'known: {ood["name"]} <= {ood["threshold"]:.6g}, which accepts {ood["accepted"]:.1%} '
            f'of these images ({TPR:.0%} asked for)'
        )
    print(f'kept in {checkpoint}; sotglp predict uses it')
