"""Three lines of Python from photos to predictions: fit, predict, save."""

import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS

from ..datasets.data_identity import describe_data
from ..datasets.own_images_dataset import TEST_OR_ALL
from ..engine import latest_checkpoint
from ..features.manifest import check_storable
from ..io.files import write_atomically
from ..io.own_images import read_own_images
from ..utils.packaged_files import CONFIGS
from .calibration import calibrate
from .config import LOADERS, load_config
from .extract import extract
from .inference import image_pipeline, loading_pipeline
from .model_folder import find_model_folder, own_evaluator, unpack_model_folder, write_model_folder
from .predict import predict
from .strict import strict_loading
from .test import test
from .train import train

RECIPE = 'sotglp_vitb16_16shot_own'


class FewShotClassifier:
    """A classifier of your own images.

    .. code-block:: python

        classifier = FewShotClassifier().fit('photos/')  # photos/<class>/<image>
        classifier.predict('new/')
        classifier.save('my_classifier')

    It calls what the commands call: :func:`extract`, :func:`train`, :func:`calibrate`,
    :func:`test` and :func:`predict`. Like them, it lets this process load checkpoints safely alone
    (:func:`strict_loading`).

    Args:
        recipe: A config: its path, or its name below ``configs/``, e.g.
            'sotglp_vitb16_16shot_own' or 'vitb16/coop'. Where its images are of a known set, those
            of ``fit`` take their place.
        work_dir: Of logs, features and checkpoints. By default ``work_dirs/<name of the recipe>``.
        features: Train from stored features. None: where there is no GPU and the recipe allows it.
        **options: Settings of the config to override, e.g. ``train_cfg=dict(max_epochs=20)``.
    """

    def __init__(
        self,
        recipe: str | Path = RECIPE,
        *,
        work_dir: str | Path | None = None,
        features: bool | None = None,
        **options: Any,
    ) -> None:
        strict_loading()
        self.recipe = _recipe_file(recipe)
        self.work_dir = Path(work_dir or Path('work_dirs') / self.recipe.stem)
        self.features = features
        self.options = options
        self.config: Path | None = None  # of the fitted model; any command takes it
        self.checkpoint: Path | None = None
        self.results: dict[str, Any] = {}  # what ``fit`` reached on images that it held out
        self._temporary: tempfile.TemporaryDirectory | None = None

    def fit(self, photos: str | Path) -> 'FewShotClassifier':
        """Train, calibrate, and test on held-out images.

        Killed, it goes on where it was when it is called again with the same work dir.

        Args:
            photos: Images in a form of :func:`read_own_images`. Without splits of their own, half
                of each class is for training, 20 % for calibration, the rest for the test.

        Raises:
            ValueError: The work dir holds another run.
        """
        config = self._write_config(Path(photos).expanduser().resolve())
        cfg = load_config(config)
        training = config
        if self._uses_features(cfg):
            training = extract(config, self.work_dir / 'features')
        train(training, work_dir=cfg.work_dir, resume='auto', no_validate=True)
        self.config, self.checkpoint = config, latest_checkpoint(cfg.work_dir).path
        try:
            calibrate(config, str(self.checkpoint))
        except ValueError as error:
            print(f'Not calibrated: {error}')
        metrics = self._test({})
        train_images, test_images = (
            len(DATASETS.build(cfg[f'{name}_dataloader'].dataset)) for name in ('train', 'test')
        )
        self.results = dict(metrics, train_images=train_images, test_images=test_images)
        print(
            f'{metrics["accuracy/top1"]:.1f} % of {test_images} held-out images are predicted '
            f'right, after training on {train_images}'
        )
        return self

    def predict(self, *paths: str | Path, **settings: Any) -> list[dict]:
        """Predict images; all of them in one call, because each call loads the model.

        Args:
            *paths: Image files, folders, globs.
            **settings: Of :func:`sotglp_mm.apis.predict`, e.g. ``topk=3`` or ``device='cpu'``.

        Returns:
            list: ``predictions`` of :func:`sotglp_mm.apis.predict`. Images that cannot be read are
            named on standard error.
        """
        config, checkpoint = self._fitted()
        names = [str(path) for path in paths]
        return predict(config, checkpoint, names, quiet=True, **settings)['predictions']

    def evaluate(self, photos: str | Path) -> dict[str, float]:
        """Accuracies and calibration error, in percent, on images with known classes.

        Args:
            photos: Images in a form of :func:`read_own_images`. Of images that are or were split,
                e.g. by ``fit``, those for testing count, else all.

        Raises:
            ValueError: The images are of other classes.
        """
        config, checkpoint = self._fitted()
        cfg = load_config(config, checkpoint=checkpoint)
        dataset = dict(
            _delete_=True,
            type='OwnImagesDataset',
            data_root=str(photos),
            split='test' if _trained_on(cfg, photos) else TEST_OR_ALL,
            classes=list(cfg.model.head.class_names),
            pipeline=image_pipeline(cfg),
        )
        return self._test({'test_dataloader.dataset': dataset})

    def save(self, folder: str | Path) -> Path:
        """Write what :meth:`load` reads, and a model card: a folder for the Hugging Face Hub.

        ``model.safetensors`` has prompts and projection, ``config.json`` the settings,
        ``classifier.json`` class names, CLIP's identity, calibration and results. CLIP itself and
        the photos are not there.

        Returns:
            Path: The folder.
        """
        config, checkpoint = self._fitted()
        return write_model_folder(Path(folder), config, checkpoint, self.results)

    @classmethod
    def load(cls, folder: str | Path, **options: Any) -> 'FewShotClassifier':
        """Read a folder of :meth:`save`. No code in it is run.

        Args:
            folder: Its path, or a model's id on the Hugging Face Hub, e.g. 'user/birds'.
            **options: Settings of the config to override, e.g. where CLIP's weights are here:
                ``model=dict(clip=dict(pretrained='/path/to/ViT-B-16.pt'))``.

        Raises:
            FileNotFoundError: There is neither such a folder nor such a model, or the Hub cannot
                be reached.
            ValueError: It holds no saved classifier, or is damaged.
        """
        found = find_model_folder(folder)
        classifier = cls(**options)
        # with the object, it goes
        classifier._temporary = tempfile.TemporaryDirectory(prefix='sotglp_')
        classifier.work_dir = Path(classifier._temporary.name)
        unpacked = unpack_model_folder(found, classifier.work_dir, options)
        classifier.config, classifier.checkpoint, classifier.results = unpacked
        return classifier

    def _test(self, options: dict) -> dict[str, float]:
        # runs of one second would share their logger, and MMEngine warns
        options = {**options, 'experiment_name': f'test_{time.time_ns()}'}
        config, checkpoint = self._fitted()
        return test(config, checkpoint, cfg_options=options)

    def _fitted(self) -> tuple[Path, Path]:
        if self.config is None or self.checkpoint is None:
            raise ValueError('this FewShotClassifier has learned nothing yet; call fit, or load')
        return self.config, self.checkpoint

    def _uses_features(self, cfg: Config) -> bool:
        if self.features is not None or torch.cuda.is_available():
            return bool(self.features)
        try:
            check_storable(cfg)
        except ValueError as error:
            print(f'Training from images, not from stored features: {error}')
            return False
        return True

    def _write_config(self, photos: Path) -> Path:
        """The recipe on these photos; refuse a work dir of another one."""
        own = read_own_images(photos)  # first of all: what is wrong with them
        # MMEngine writes configs into the folder of a run: ours has a place of its own
        cfg = load_config(self.recipe, self.options, self.work_dir / 'run', data=photos)
        init_default_scope('mmpretrain')
        _replace_data(cfg, photos)
        head = cfg.model.head
        if 'num_classes' in head:
            head.num_classes = len(own.classes)
        else:
            head.class_names = list(own.classes)
        images = DATASETS.build(cfg.train_dataloader.dataset)
        cfg.train_dataloader.batch_size = min(cfg.train_dataloader.batch_size, len(images))
        cfg.test_evaluator = own_evaluator()
        cfg.default_hooks.progress_bar = dict(type='ProgressBarHook')
        cfg.log_level = 'WARNING'  # the bar says how far it is
        cfg.training_images = describe_data(images, {})[0]['samples_sha256']
        file, text = self.work_dir / 'config.py', cfg.pretty_text
        if file.is_file() and file.read_text(encoding='utf-8') != text:
            raise ValueError(
                f'{self.work_dir} holds a run on other photos or with other settings; give '
                'another work_dir, or delete it'
            )
        write_atomically(file, text)
        return file


def _recipe_file(recipe: str | Path) -> Path:
    for file in (Path(recipe).expanduser(), CONFIGS / f'{recipe}.py'):
        if file.is_file():
            return file
    raise FileNotFoundError(
        f'recipe {str(recipe)!r} is neither a config file nor the name of one of {CONFIGS}; '
        f'expected for example {RECIPE!r}'
    )


def _trained_on(cfg: Config, photos: str | Path) -> bool:
    """Whether these photos are the ones of ``fit``, of which the test images alone are new.

    Their split is drawn again where it could not be written: it must be the same.
    """
    dataset = (cfg.get('train_dataloader') or {}).get('dataset') or {}
    dataset = dataset.get('dataset') or dataset
    if dataset.get('data_root') != str(Path(photos).expanduser().resolve()):
        return False
    images = DATASETS.build(cfg.train_dataloader.dataset)
    if describe_data(images, {})[0]['samples_sha256'] != cfg.get('training_images'):
        raise ValueError(
            f'{photos} or its split changed since this model was trained on it, so images that it '
            'was trained on may be among those for testing. Fit anew, or evaluate on other photos'
        )
    return True


def _replace_data(cfg: Config, photos: Path) -> None:
    """Photos in place of the images of a recipe; shots, crops and batches stay."""
    for name in LOADERS:
        dataset = cfg[name].dataset
        own = dict(
            type='OwnImagesDataset',
            data_root=str(photos),
            split='train' if name == 'train_dataloader' else 'test',
            pipeline=loading_pipeline(dataset),
        )
        place = dataset if dataset.type == 'FewShotDataset' else cfg[name]
        place.dataset = own
