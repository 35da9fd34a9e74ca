"""What image embeddings alone can do: Tip-Adapter, a Gaussian discriminant, a linear probe.

No prompt is learned, no patch is looked at, and a run takes seconds: the floor that prompt
learning has to beat. Symbols as in :mod:`sotglp_mm.structures`; N images here.
"""

import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.device import get_device
from mmpretrain.registry import DATASETS, MODELS
from torch.utils.data import DataLoader

from ..class_names.resolve import class_difference
from ..clip.load import lend
from ..datasets.data_identity import identities, images_root_of
from .dataset import CachedFeatureDataset

ALPHAS = BETAS = np.geomspace(0.1, 50, 20)
"""Tip-Adapter's weight and sharpness of the cache. Its own configs search up to 50."""

WEIGHTS = np.logspace(-4, 2, 7)
"""Of the Gaussian discriminant beside the texts, as its paper has them."""

STRENGTHS = np.logspace(-4, 2, 7)
"""Of the linear probe's regularisation, scikit-learn's C; the smallest regularises most."""

VAL_SHOTS = 4
"""Validation images of each class, at most, and no more than shots: CoOp's protocol."""

BATCH = 64


class Labelled(NamedTuple):
    """Images as a classifier sees them."""

    features: np.ndarray  # (N, width)
    labels: np.ndarray  # int (N,)


class Fitted(NamedTuple):
    """A classifier, and what was chosen on validation images."""

    predict: Callable[[np.ndarray], np.ndarray]  # labels (N,) of features (N, width)
    chosen: dict[str, float]


def tip_adapter(train: Labelled, val: Labelled, text: np.ndarray) -> Fitted:
    """Tip-Adapter without training (Zhang et al., ECCV 2022).

    Logits are ``f text^T + alpha exp(-beta (1 - f F^T)) L`` with the training images' features F
    (unit length, joint space), their one-hot labels L, and ``text`` (C, D), CLIP's text features
    times its logit scale. Alpha and beta are chosen on ``val``.
    """
    values = np.eye(len(text))[train.labels]

    def cache(features: np.ndarray, beta: float) -> np.ndarray:
        return np.exp(-beta * (1 - features @ train.features.T)) @ values

    of_text = val.features @ text.T
    caches = ((beta, cache(val.features, beta)) for beta in BETAS)
    alpha, beta = _best(
        (((alpha, beta), of_text + alpha * cached) for beta, cached in caches for alpha in ALPHAS),
        val.labels,
    )
    return Fitted(
        lambda features: (features @ text.T + alpha * cache(features, beta)).argmax(1),
        dict(alpha=float(alpha), beta=float(beta)),
    )


def gaussian_discriminant(train: Labelled, val: Labelled, text: np.ndarray) -> Fitted:
    """CLIP's texts beside a Gaussian discriminant (Wang et al., ICLR 2024).

    Arguments as of :func:`tip_adapter`; the discriminant's weight alpha is chosen on ``val``.
    """
    weight, bias = discriminant(train, len(text))
    of_text, of_images = val.features @ text.T, val.features @ weight.T + bias
    alpha = _best(((alpha, of_text + alpha * of_images) for alpha in WEIGHTS), val.labels)
    return Fitted(
        lambda features: (features @ (text + alpha * weight).T + alpha * bias).argmax(1),
        dict(alpha=float(alpha)),
    )


def discriminant(train: Labelled, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight (C, D) and bias (C,): Gaussians of one shared covariance, classes equally likely.

    The covariance S of n images around the means of their classes is shrunk: its inverse is
    ``D ((n - 1) S + trace(S) I)^-1``, the paper's ridge-type estimator.

    Raises:
        ValueError: No class has two different images.
    """
    features = train.features.astype(float)
    means = np.stack([features[train.labels == label].mean(0) for label in range(num_classes)])
    spread = features - means[train.labels]
    count, width = spread.shape
    scatter = spread.T @ spread  # (n - 1) S
    trace = np.trace(scatter) / max(count - 1, 1)
    if trace == 0:
        raise ValueError(
            f'A Gaussian discriminant needs two different images of a class, and {count} images '
            f'of {num_classes} classes have none. Take more shots, or stored features with '
            'several views'
        )
    weight = width * np.linalg.solve(scatter + trace * np.eye(width), means.T).T
    return weight, -(weight * means).sum(1) / 2


def linear_probe(train: Labelled, val: Labelled) -> Fitted:
    """Logistic regression on standardised features (CLIP's paper, arXiv 2103.00020).

    That paper takes features before the projection. C is chosen on ``val``.
    """
    # here: scikit-learn is a fifth of the package's import time, and most runs need none of it
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fit(strength: float) -> Any:
        classifier = LogisticRegression(C=strength, max_iter=2000)
        return make_pipeline(StandardScaler(), classifier).fit(*train)

    models = [fit(strength) for strength in STRENGTHS]
    best = max(models, key=lambda model: model.score(*val))
    return Fitted(best.predict, dict(C=float(STRENGTHS[models.index(best)])))


def _best(tries: Iterable[tuple[Any, np.ndarray]], labels: np.ndarray) -> Any:
    """The settings whose logits (N, C) are right most often; of equals the first."""
    return max(tries, key=lambda each: (each[1].argmax(1) == labels).mean())[0]


BASELINES = ('tip_adapter', 'gaussian_discriminant', 'linear_probe')


def measure_baseline(cfg: Config, method: str, val: dict | None = None) -> dict[str, float]:
    """Fit a baseline to a config's training images, and test it on the config's test images.

    Stored features are read, all views of a training image; images go through the image tower
    once, training images as they are tested. Tip-Adapter takes the mean over views. Settings are
    chosen on the dataset of config ``val``, but for images that are trained on; None: CoOp's, see
    :func:`few_shot_validation`.

    Returns:
        dict: ``accuracy/top1`` and ``accuracy/mean_class`` in percent, and ``chosen/<setting>``.
    """
    if method not in BASELINES:
        raise ValueError(f'baseline {method!r} is not known; choose one of {BASELINES}')
    settings = dict(
        train=cfg.train_dataloader.dataset,
        val=val or few_shot_validation(cfg),
        test=cfg.test_dataloader.dataset,
    )
    sets = {name: DATASETS.build(deepcopy(each)) for name, each in settings.items()}
    sets['val'] = _set_apart(**sets)
    if not isinstance(sets['train'], CachedFeatureDataset):
        sets['train'].pipeline = sets['val'].pipeline
    of_images = _zero_shot(cfg, sets['train'])
    model = MODELS.build(of_images).to(get_device()).eval()
    for dataset in sets.values():
        _check_tower(of_images, model, dataset)
    for name, dataset in sets.items():
        ours, theirs = model.head.class_names, dataset.metainfo['classes']
        if difference := class_difference(ours, theirs, 'the head', 'the dataset'):
            raise ValueError(
                f'Head and {name} images differ in their classes: {difference}. Set class_names '
                'of the head to the classes of the dataset, in its order.'
            )
    workers = cfg.test_dataloader.get('num_workers', 0)
    views = {name: _embed(model, dataset, workers) for name, dataset in sets.items()}
    labels = {name: np.asarray(dataset.get_gt_labels()) for name, dataset in sets.items()}

    def labelled(name: str, project: bool, mean: bool = False) -> Labelled:
        embeddings = views[name].mean(0, keepdims=True) if mean else views[name]
        every = np.tile(labels[name], len(embeddings))
        embeddings = embeddings.reshape(len(every), -1)
        return Labelled(_to_joint(model, embeddings) if project else embeddings, every)

    if method == 'linear_probe':
        fitted = linear_probe(labelled('train', False), labelled('val', False))
    else:
        fit = {'tip_adapter': tip_adapter, 'gaussian_discriminant': gaussian_discriminant}[method]
        train = labelled('train', True, mean=method == 'tip_adapter')
        fitted = fit(train, labelled('val', True), _text(model))
    test = labelled('test', method != 'linear_probe')
    hits = fitted.predict(test.features) == test.labels
    of_classes = [hits[test.labels == label].mean() for label in np.unique(test.labels)]
    return {
        'accuracy/top1': 100 * float(hits.mean()),
        'accuracy/mean_class': 100 * float(np.mean(of_classes)),
        **{f'chosen/{name}': value for name, value in fitted.chosen.items()},
    }


def few_shot_validation(cfg: Config) -> dict:
    """CoOp's validation images: ``min(shots, 4)`` a class of split 'val', by the same seed."""
    train, test = (_images(cfg[name].dataset) for name in ('train_dataloader', 'test_dataloader'))
    shots = min(train.num_shots, VAL_SHOTS)
    dataset = {**test, 'split': 'val'}
    return dict(type='FewShotDataset', dataset=dataset, num_shots=shots, seed=train.seed)


def _images(settings: Any) -> Any:
    if settings.type != CachedFeatureDataset.__name__:
        return settings
    if settings.get('source') is None:
        raise ValueError(
            'Validation images are not among the stored features, and source=None does not say '
            'where they are. Give the datasets of the loaders their source'
        )
    return settings.source


def _zero_shot(cfg: Config, train: Any) -> dict:
    """The model of images, with one template prompt for each class."""
    model = deepcopy(cfg.model)
    of_images = dict(backbone='OpenCLIPViT', data_preprocessor='ClsDataPreprocessor')
    for part, type_ in of_images.items():
        if (model.get(part) or {}).pop('cache', None):
            model[part].type = type_
    kept = ('class_names', 'clip', 'context', 'keep_underscores')
    head = {name: model.head[name] for name in kept if name in model.head}
    head.setdefault('class_names', list(train.CLASSES))
    head.update(type='SOTGLPHead', num_global_prompts=1, num_local_prompts=0)
    # set, not updated: that would mix the settings of two heads
    model.head, model.neck = head, None
    return model


def _check_tower(of_images: Any, model: Any, dataset: Any) -> None:
    """Refuse features of another tower: the parts that stand for stored features compare them."""
    if not isinstance(dataset, CachedFeatureDataset):
        return
    stored = dict(backbone='CachedFeatureBackbone', data_preprocessor='CachedFeaturePreprocessor')
    with lend(model.backbone.towers):
        for part, type_ in stored.items():
            settings = {k: v for k, v in (of_images.get(part) or {}).items() if k != 'clip'}
            MODELS.build({**settings, 'type': type_, 'cache': str(dataset.feature_cache)})


@torch.inference_mode()
def _embed(model: Any, dataset: Any, workers: int) -> np.ndarray:
    """Image embeddings before the projection, float32 (views, N, W)."""
    if isinstance(dataset, CachedFeatureDataset):
        return dataset.image_embeddings().astype(np.float32)
    loader = DataLoader(dataset, BATCH, num_workers=workers, collate_fn=default_collate)
    batches = (model.data_preprocessor(dict(inputs=batch['inputs']))['inputs'] for batch in loader)
    return torch.cat([model.backbone(images).image.cpu() for images in batches])[None].numpy()


@torch.inference_mode()
def _to_joint(model: Any, embeddings: np.ndarray) -> np.ndarray:
    """Unit length (N, D) of (N, W)."""
    towers = model.backbone.towers
    projected = towers.image.project(torch.from_numpy(embeddings).to(towers.logit_scale.device))
    return F.normalize(projected.float(), dim=-1).cpu().numpy()


@torch.inference_mode()
def _text(model: Any) -> np.ndarray:
    """Text features of the template times CLIP's logit scale, (C, D)."""
    text = model.head.text_encoder(model.head.global_prompts)[:, 0].float()
    return (model.head.towers.logit_scale * F.normalize(text, dim=-1)).cpu().numpy()


def _set_apart(train: Any, val: Any, test: Any) -> Any:
    """Validation images that are not trained on; none may be a test image.

    Aircraft's recipe draws its shots from 'trainval': a setting that is chosen on images which the
    classifier was fitted to is chosen for remembering them.
    """
    shared = set(_identities(val)) & set(_identities(test))
    if shared:
        raise ValueError(
            f'{len(shared)} of {len(val)} validation images are test images, e.g. '
            f'{min(shared)}: settings would be chosen on test images. This dataset needs a split '
            "'val' of its own"
        )
    trained = set(_identities(train))
    free = [i for i, identity in enumerate(_identities(val)) if identity not in trained]
    if len(free) == len(val):
        return val
    if not free or isinstance(val, CachedFeatureDataset):
        raise ValueError(
            f'{len(val) - len(free)} of {len(val)} validation images are trained on: settings '
            "would be chosen on them. This dataset needs a split 'val' of its own"
        )
    return val.get_subset(free)


def _identities(dataset: Any) -> list[str]:
    if isinstance(dataset, CachedFeatureDataset):
        return [json.dumps(identity) for identity, *_ in dataset.samples]
    return identities(dataset, images_root_of(dataset))
