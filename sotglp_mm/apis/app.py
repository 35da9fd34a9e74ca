"""A page in the browser to try a trained model: classes, known or unknown, and the plan."""

import sys
import tempfile
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from PIL import Image

from ..functional import OOD_FIELDS, tempered
from ..structures import BRANCHES
from ..visualization import classifier_problem, draw_plan, pictures_of_batch
from .calibration import calibration_for, set_ood_score, with_rounding
from .config import load_config
from .inference import image_pipeline, load_inferencer, read_images
from .show import set_pipeline

NUM_EXAMPLES = 6


def app(
    config: str | Path,
    checkpoint: str | Path | None,
    *,
    host: str = '127.0.0.1',
    port: int = 7860,
    topk: int = 5,
    device: str | None = None,
    data: str | Path | None = None,
    cfg_options: dict | None = None,
) -> None:
    """Serve a page until it is interrupted, as ``sotglp app`` does with flags of these names.

    Nothing is fetched from elsewhere; images stay on this machine.

    Args:
        host: Address to listen at. The default can be reached from this machine alone.
        port: 0 takes a free one.

    Raises:
        ImportError: Gradio is not installed.
        OSError: The port is taken.
    """
    try:
        import gradio
    except ImportError as error:
        raise ImportError('sotglp app needs Gradio: pip install "sotglp_mm[app]"') from error
    cfg = load_config(config, cfg_options, checkpoint=checkpoint, data=data)
    trial = Trial(cfg, checkpoint, device)
    with tempfile.TemporaryDirectory(prefix='sotglp_app_') as folder:
        examples = example_images(cfg, Path(folder))
        page = build_page(trial, examples, min(topk, len(trial.class_names)))
        fonts = ('system-ui', 'sans-serif')  # the default ones come from the network
        page.launch(
            server_name=host,
            server_port=port or None,
            theme=gradio.themes.Default(font=fonts, font_mono=('monospace',)),
            allowed_paths=[folder],
            show_error=True,
            footer_links=[],
        )


class Trial:
    """A trained model that looks at one image file at a time."""

    def __init__(self, cfg: Config, checkpoint: str | Path | None, device: str | None = None):
        self.ood = set_ood_score(cfg)
        self.calibration = calibration_for(cfg, checkpoint)
        self.inferencer = load_inferencer(cfg, checkpoint, device)
        head = self.inferencer.model.head
        names = getattr(head, 'class_names', None) or self.inferencer.classes
        names = list(names or map(str, range(head.num_classes)))
        # two classes may share a name, as two pairs of ImageNet's do
        self.class_names = [
            f'{name} ({label})' if names.count(name) > 1 else name
            for label, name in enumerate(names)
        ]
        self.branches = ['combined']
        if getattr(head, 'local_prompts', None) is not None:
            self.branches = list(BRANCHES)

    def look(self, path: str) -> dict[str, Any]:
        """What the model says of an image.

        Returns:
            dict: ``scores``, for each branch the probability of each class name (combined: at the
            checkpoint's temperature, if it is calibrated); ``verdict``, a
            sentence; ``plan``, a uint8 picture (H, W, 3), or None where the model has no plans.
        """
        (batch,) = read_images(self.inferencer.config, [path])
        if batch.data is None:
            raise ValueError(f'{Path(path).name}: {batch.failures[0].error}')
        (sample,) = self.inferencer.forward(batch.data)
        branches = {
            name: sample.get(field).float().cpu()
            for name, field in BRANCHES.items()
            if field in sample
        }
        combined = tempered(branches['combined'], self.calibration['temperature'])
        branches['combined'] = combined
        sample.set_pred_score(combined)  # the picture shows the same
        model, inputs = self.inferencer.model, batch.data['inputs']
        plan = None
        if classifier_problem(model, inputs) is None:
            plan = draw_plan(pictures_of_batch(model, inputs, [sample], 'predicted')[0])
        return dict(
            scores={
                name: dict(zip(self.class_names, scores.tolist()))
                for name, scores in branches.items()
            },
            verdict=self._verdict(self.class_names[int(combined.argmax())], combined, sample),
            plan=plan,
        )

    def _verdict(self, name: str, combined: torch.Tensor, sample: Any) -> str:
        text = f'**{name}**, {float(combined.max()):.0%}'
        if self.ood is None:
            return text
        score, chosen = float(sample.get(OOD_FIELDS[self.ood])), self.calibration['ood']
        text += f'; OOD score {self.ood}: {score:.4g}'
        if chosen is None:
            return f'{text} (run `sotglp calibrate` for a threshold)'
        limit = with_rounding(chosen['threshold'], chosen['tau'])
        return f'{text}, {"known" if score <= limit else "**unknown**"} (threshold {limit:.4g})'


def example_images(cfg: Config, folder: Path) -> list[str]:
    """Test images of different classes, as the model sees them; none where there is no data."""
    settings = deepcopy(cfg.test_dataloader.dataset)
    set_pipeline(settings, image_pipeline(cfg))
    try:
        dataset = DATASETS.build(settings)
    except (OSError, ValueError) as error:
        print(f'no examples on the page: {error}', file=sys.stderr)
        return []
    first: dict[int, int] = {}
    for index in range(len(dataset)):
        first.setdefault(int(dataset.get_data_info(index).get('gt_label', 0)), index)
        if len(first) == NUM_EXAMPLES:
            break
    files = []
    for number, index in enumerate(first.values()):
        pixels = dataset[index]['inputs'].permute(1, 2, 0).numpy()
        files.append(str(folder / f'example_{number}.png'))
        Image.fromarray(pixels[..., ::-1].copy()).save(files[-1])
    return files


def build_page(trial: Trial, examples: Sequence[str], topk: int) -> Any:
    """The page, a ``gradio.Blocks``; ``examples`` are image files to click on."""
    import gradio

    branches = trial.branches
    titles = dict.fromkeys(branches, '{}')
    if trial.calibration['temperature'] != 1:
        titles['combined'] = '{}, calibrated'

    def look(files: list[str] | None) -> list[Any]:
        found, messages = [], []
        for file in files or ():
            try:
                found.append((Path(file).name, trial.look(file)))
            except ValueError as error:
                messages.append(str(error))
        rows = [[name, result['verdict'].replace('**', '')] for name, result in found]
        message = '\n\n'.join(messages)
        return [
            found,
            gradio.update(value=message, visible=bool(message)),
            gradio.update(value=rows, visible=len(rows) > 1),
            *show(found, 0),
        ]

    def show(found: list, index: int) -> list[Any]:
        if not found:
            return ['', *([None] * (len(branches) + 1))]
        name, result = found[index]
        verdict = f'{name}: {result["verdict"]}'
        return [verdict, *(result['scores'].get(b) for b in branches), result['plan']]

    def select(found: list, event: gradio.SelectData) -> list[Any]:
        return show(found, event.index[0])

    with gradio.Blocks(title='sotglp_mm', analytics_enabled=False) as page:
        found = gradio.State([])
        gradio.Markdown(f'# Try the model\n{len(trial.class_names)} classes. Drop images here.')
        with gradio.Row():
            with gradio.Column(scale=1):
                files = gradio.File(file_count='multiple', label='Images')
                if examples:
                    gradio.Examples([[[file]] for file in examples], files, label='Test images')
            with gradio.Column(scale=2):
                message = gradio.Markdown(visible=False, elem_id='message')
                table = gradio.Dataframe(
                    headers=['image', 'prediction (click for more)'],
                    interactive=False,
                    visible=False,
                )
                verdict = gradio.Markdown(elem_id='verdict')
                with gradio.Row():
                    labels = [
                        gradio.Label(label=title.format(name), num_top_classes=topk)
                        for name, title in titles.items()
                    ]
                plan = gradio.Image(
                    label='Which patches each prompt took',
                    visible=len(branches) > 1,
                    interactive=False,
                    buttons=['download', 'fullscreen'],
                    elem_id='plan',
                )
        shown = [verdict, *labels, plan]
        files.change(look, files, [found, message, table, *shown])
        table.select(select, found, shown)
    return page
