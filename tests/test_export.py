"""``sotglp export``: the file does what the model does, and says how to feed it."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mini_runs import REPO
from mmengine.config import Config
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image
from small_clip import classifier, config_with, write_clip

from sotglp_cli import main
from sotglp_mm.apis import export, load_config, predict, read_calibration
from sotglp_mm.functional import mcm
from sotglp_mm.models.allocations import UniformAllocationLoss
from sotglp_mm.models.exported_classifier import ExportedClassifier

EXPORT = importlib.import_module(
    'sotglp_mm.apis.export'
)  # the package's attribute is the function
CALIBRATION = importlib.import_module('sotglp_mm.apis.calibration')
CONFIG = REPO / 'configs' / 'sotglp_demo_16shot.py'
COOP = REPO / 'configs' / 'demo' / 'coop.py'


@pytest.fixture(scope='module')
def clip(tmp_path_factory) -> dict:
    """A CLIP for the demo's images; 16 patches."""
    vision = dict(image_size=64, patch_size=16)
    return write_clip(tmp_path_factory.mktemp('clip'), config_with(vision=vision))


@pytest.fixture(scope='module')
def options(clip) -> dict:
    return {
        'model.clip': dict(_delete_=True, **clip),
        'model.head.local_loss.max_iters': 5,  # each takes a part of a second to trace
    }


@pytest.fixture(scope='module')
def checkpoint(options, tmp_path_factory) -> Path:
    torch.manual_seed(0)
    cfg = load_config(CONFIG, options)
    model = MODELS.build(cfg.model)
    file = tmp_path_factory.mktemp('run') / 'epoch_1.pth'
    kept = dict(
        temperature=2.5,
        images=9,
        ood=dict(name='gl_mcm_T1', method='gl_mcm', tau=1.0, threshold=-0.0845, accepted=1.0),
        model=CALIBRATION._settings(cfg),
    )
    torch.save(dict(state_dict=model.state_dict(), meta=dict(calibration=kept)), file)
    return file


@pytest.fixture(scope='module')
def onnx_file(checkpoint, options, tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp('export') / 'classifier.onnx'
    if torch.__version__.startswith('2.6.'):
        with pytest.raises(ValueError, match=r'torch 2\.6.* cannot convert the model'):
            export(CONFIG, checkpoint, file, cfg_options=options)
        pytest.skip("torch 2.6's converter to ONNX fails on an unknown batch size")
    report = export(CONFIG, checkpoint, file, cfg_options=options)
    assert report['difference'] < EXPORT.TOLERANCE
    assert report['bytes'] == file.stat().st_size
    assert report['images'] == '12 images of the test set'
    return file


def build(clip: dict, **head) -> torch.nn.Module:
    """In eval mode, with a projection that is learned."""
    torch.manual_seed(3)
    settings = dict(type='SOTGLPHead', class_names=['tench', 'shark', 'ray'], num_local_prompts=4)
    model = MODELS.build(classifier(clip, head={**settings, **head}))
    model.neck.local_projection.weight.data += 0.1 * torch.randn(24, 24)
    return model.eval()


def predicted(model: torch.nn.Module, images: torch.Tensor, names: tuple) -> list[torch.Tensor]:
    samples = model.predict(images)
    return [torch.stack([sample.get(name) for sample in samples]) for name in names]


TRANSPORT = dict(type='OTAllocationLoss', max_iters=5)
METHODS = {
    'released': dict(
        local_loss=TRANSPORT, ood_methods=['mcm', 'l_mcm', 'gl_mcm'], ood_tau=[1.0, 1000.0]
    ),
    'capped': dict(
        selector=dict(type='SparsePatchSelector', k=7, rank='logsumexp'),
        local_loss=dict(type='CappedAllocationLoss', capacity=3, max_iters=5, reduction='sum'),
    ),
    'plot': dict(
        local_shared=True,
        selector=dict(type='SparsePatchSelector', k='all'),
        local_loss=dict(relative=True, **TRANSPORT),
        ood_methods=['gl_mcm'],
    ),
    'gallop': dict(
        selector=dict(type='PromptPatchSelector', k=(2, 3, 5, 7)),
        local_loss=dict(type='UniformAllocationLoss', k=(2, 3, 5, 7)),
    ),
}


@pytest.mark.parametrize('method', METHODS)
def test_program_is_the_model_at_any_batch(clip, method):
    model = build(clip, **METHODS[method])
    images = torch.randn(7, 3, 64, 64)
    classifier = ExportedClassifier(model)
    program = EXPORT.trace(classifier, images).module()
    for batch in (images[:1], images):
        expected = predicted(model, batch, classifier.output_names)
        torch.testing.assert_close(list(program(batch)), expected, rtol=1e-5, atol=1e-6)


def test_onnx_file(onnx_file, checkpoint, options):
    import onnx

    file = onnx.load(onnx_file)
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in [*file.graph.input, *file.graph.output]
    }
    assert shapes.pop('images') == ['batch', 3, 64, 64]
    assert shapes.pop('ood_gl_mcm') == ['batch']
    names = ('pred_score', 'pred_score_global', 'pred_score_local')
    assert shapes == {name: ['batch', 24] for name in names}
    about = json.loads({each.key: each.value for each in file.metadata_props}['sotglp_mm'])
    assert about['class_names'][:2] == ['bavo', 'cilen']
    kept = read_calibration(checkpoint)
    assert about['temperature'] == 2.5
    limit = pytest.approx(kept['ood']['threshold'], rel=1e-5)
    assert about['ood'] == {'ood_gl_mcm': {'temperature': 1.0, 'threshold': limit}}
    assert about['preprocessing']['steps'] == [
        {'resize_short_edge': 64, 'interpolation': 'bicubic'},
        {'center_crop': [64, 64]},
    ]
    assert str(REPO).encode() not in onnx_file.read_bytes()


def write_pictures(folder: Path) -> list[str]:
    """Scenes, and what a photographer brings: odd sizes, a turned one, grey, a palette, alpha."""
    folder.mkdir()
    scenes = DATASETS.build(dict(type='DemoScenesDataset', split='test'))
    images = [Image.fromarray(scenes[i]['img'][..., ::-1].copy()) for i in range(0, 960, 160)]
    for index, image in enumerate(images):
        image.save(folder / f'{index}.png')
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    images[0].resize((97, 211)).save(folder / 'turned.jpg', exif=exif)
    images[1].resize((301, 158)).save(folder / 'wide.jpg')
    images[2].convert('L').resize((64, 65)).save(folder / 'grey.png')
    images[3].convert('P').save(folder / 'palette.png')
    images[4].resize((40, 50)).convert('RGBA').save(folder / 'alpha.png')
    return sorted(map(str, folder.iterdir()))


def test_example_serves_what_the_model_predicts(onnx_file, checkpoint, options, tmp_path):
    paths = write_pictures(tmp_path / 'pictures')
    example = REPO / 'examples' / 'serve_onnx.py'
    code = (
        'import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], '
        'run_name="__main__"); assert not {"torch", "mmcv"} & set(sys.modules)'
    )
    command = [sys.executable, '-c', code, example, onnx_file, *paths]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    served = [line.split('\t') for line in done.stdout.splitlines()]
    report = predict(CONFIG, checkpoint, paths, num_workers=0, cfg_options=options)
    ours = report['predictions']
    assert [row[:2] for row in served] == [[row['path'], row['label']] for row in ours]
    np.testing.assert_allclose(
        [float(row[2]) for row in served], [row['probability'] for row in ours], atol=1e-4
    )
    assert [row[3].split()[0] for row in served] == ['ood_gl_mcm'] * len(paths)
    scores = [float(row[3].split()[1]) for row in served]
    np.testing.assert_allclose(scores, [row['ood_score'] for row in ours], atol=1e-6)
    assert [row[4] == 'known' for row in served] == [row['known'] for row in ours]


def test_global_prompts_alone_are_a_linear_classifier(options, tmp_path, capsys):
    file = tmp_path / 'coop.pt2'
    clip = {'model.clip': options['model.clip']}
    export(COOP, None, file, format='torch-export', cfg_options=clip)
    assert 'outputs: pred_score, pred_score_global, ood_mcm\n' in capsys.readouterr().out
    extra = {EXPORT.METADATA: ''}
    program = torch.export.load(file, extra_files=extra)
    ood = {'ood_mcm': {'temperature': 1.0, 'threshold': None}}
    assert json.loads(extra[EXPORT.METADATA])['ood'] == ood
    weight = program.state_dict['global_text']
    assert weight.shape == (24, 10)
    (embedding,) = (
        node.args[0]
        for node in program.graph.nodes
        if node.target is torch.ops.aten.linear.default and 'global_text' in str(node.args[1])
    )
    assert [str(user.target) for user in embedding.users] == ['aten.linear.default']
    probabilities, of_global, score = program.module()(torch.randn(2, 3, 64, 64))
    torch.testing.assert_close(probabilities, of_global)
    similarity = of_global.log() / 100  # up to a constant, which a softmax does not see
    torch.testing.assert_close(score, mcm(similarity[..., None]), rtol=1e-4, atol=0)


def test_a_file_that_fails_its_check_is_not_written(options, tmp_path, monkeypatch, capsys):
    file = tmp_path / 'classifier.pt2'
    file.write_text('of yesterday')
    made = EXPORT.to_pt2

    def slightly_wrong(*arguments):
        exported = made(*arguments)
        run = exported.run

        def wrong(images):
            outputs = run(images)
            return outputs if len(images) < 8 else outputs | {'ood_mcm': outputs['ood_mcm'] * 1.01}

        return exported._replace(run=wrong)

    monkeypatch.setattr(EXPORT, 'to_pt2', slightly_wrong)
    with pytest.raises(RuntimeError, match=r'differs from the model by 0\.01 .*was not written'):
        clip = {'model.clip': options['model.clip']}
        export(COOP, None, file, format='torch-export', cfg_options=clip)
    assert file.read_text() == 'of yesterday'
    assert [each.name for each in tmp_path.iterdir()] == [file.name]


class Peeking(UniformAllocationLoss):
    def plan(self, similarity):
        if similarity.amax() > 0.1:
            return super().plan(similarity)
        return super().plan(-similarity)


def test_models_that_cannot_be_exported(clip, monkeypatch):
    model = build(clip)
    images = torch.randn(2, 3, 64, 64)
    model.head.local_loss = Peeking()
    with pytest.raises(ValueError, match=r'cannot be exported: local_loss \(Peeking\) does what'):
        EXPORT.trace(ExportedClassifier(model), images)
    program = EXPORT.trace(ExportedClassifier(build(clip, num_local_prompts=0)), images)
    monkeypatch.setattr(EXPORT, 'MAX_ONNX_BYTES', 1000)
    with pytest.raises(ValueError, match='take --format torch-export'):
        EXPORT.to_onnx(program, (), '')


TOLERANT = {'model.head.local_loss.tolerance': 0.01}
REFUSED = {
    'another head': ('mixing/linear_probe.py', {}, 'its head is LinearClsHead, and only'),
    'several heads': ('mixing/multi_task.py', {}, 'its head is MultiTaskHead, and only'),
    'tolerance': ('sotglp_demo_16shot.py', TOLERANT, 'OTAllocationLoss.* stops at a tolerance'),
}


def test_without_the_test_set_the_demo_is_drawn(clip, tmp_path):
    options = {'model.clip': dict(_delete_=True, **clip)}
    cfg = load_config(REPO / 'configs/sotglp_vitb16_16shot_dtd.py', options, data=tmp_path)
    checked = EXPORT.check_images(cfg, MODELS.build(cfg.model))
    assert checked.images.shape == (12, 3, 224, 224)
    assert "demo's images" in checked.source and 'dtd' in checked.source
    assert len({float(each.mean()) for each in checked.images}) == 12


@pytest.mark.parametrize('which', REFUSED)
def test_what_cannot_be_exported_is_named(which, tmp_path):
    name, options, message = REFUSED[which]
    with pytest.raises(ValueError, match=message):
        export(REPO / 'configs' / name, None, tmp_path / 'x.onnx', cfg_options=options)


@pytest.mark.parametrize(
    'step',
    [
        dict(type='ResizeEdge', scale=64),  # by OpenCV
        dict(type='ResizeEdge', scale=64, edge='long', backend='pillow'),
        dict(type='Resize', scale=64, keep_ratio=True, backend='pillow'),
        dict(type='CenterCrop', crop_size=64, auto_pad=True),
        dict(type='ColorJitter'),
    ],
)
def test_a_step_that_metadata_cannot_say_is_named(step):
    cfg = Config.fromfile(CONFIG)
    cfg.test_dataloader.dataset.pipeline.insert(1, step)
    with pytest.raises(ValueError, match=f"step {{'type': '{step['type']}'.*cannot be written"):
        EXPORT.describe_preprocessing(cfg, None)


def test_sentences_for_users(tmp_path, monkeypatch, capsys):
    command = ['export', str(CONFIG), 'none']
    assert main([*command, str(tmp_path / 'x.pt2')]) == 2
    assert 'x.pt2: --format onnx writes a file that ends in .onnx' in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    assert main([*command, str(tmp_path / 'x.onnx')]) == 2
    assert 'pip install onnx onnxscript onnxruntime' in capsys.readouterr().err
