"""Loading CLIP: shared, frozen, out of checkpoints; every file format; every refusal."""

import copy
import json
import logging
from collections import OrderedDict
from pathlib import Path
from types import SimpleNamespace

import open_clip
import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.runner.checkpoint import load_state_dict
from mmpretrain.registry import HOOKS, MODELS
from open_clip.transformer import QuickGELU
from safetensors.torch import save_file
from small_clip import CONFIG, config_with, small_state, write_clip, write_model
from torch import nn

from sotglp_mm.clip.load import _either_activation, build_towers, load_clip
from sotglp_mm.clip.quick_gelu_mlp import QuickGELUMLP


@pytest.fixture(scope='module')
def state() -> dict[str, torch.Tensor]:
    return small_state()


@pytest.fixture
def clip(tmp_path: Path) -> dict:
    return write_clip(tmp_path)


def assert_holds(towers, state: dict[str, torch.Tensor]) -> None:
    found = towers.clip.state_dict()
    assert set(found) == set(state)
    for key, value in state.items():
        torch.testing.assert_close(found[key], value, rtol=0, atol=0)


def activations(towers) -> set[type]:
    blocks = [*towers.clip.visual.transformer.resblocks, *towers.clip.transformer.resblocks]
    return {type(block.mlp.gelu) for block in blocks}


def model_of(clip: dict, **parts) -> dict:
    """A classifier's config; ``parts`` replace its own."""
    selector = dict(type='SparsePatchSelector', k=3)
    head = dict(type='SOTGLPHead', class_names=['cat', 'dog'], selector=selector)
    given = dict(
        clip=clip,
        backbone=dict(type='OpenCLIPViT'),
        neck=dict(type='LocalProjectionNeck'),
        head=head,
    )
    return dict(type='CLIPClassifier', **{**given, **parts})


def holders(model: nn.Module) -> list:
    return [module.towers for module in model.modules() if hasattr(module, 'towers')]


def test_all_parts_share_one_clip_nested_heads_too(clip: dict):
    tasks = dict(
        animals=dict(type='SOTGLPHead', class_names=['cat', 'dog']),
        sizes=dict(type='SOTGLPHead', class_names=['big', 'small', 'tiny']),
    )
    model = MODELS.build(model_of(clip, head=dict(type='MultiTaskHead', task_heads=tasks)))
    found = holders(model)
    assert len(found) == 7  # classifier, backbone, neck, two heads and their text encoders
    assert all(towers is model.towers for towers in found)


def test_two_models_share_nothing(clip: dict):
    one, other = MODELS.build(model_of(clip)), MODELS.build(model_of(clip))
    copied = copy.deepcopy(one)
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    before = one(images, mode='tensor')
    other.load_state_dict(one.state_dict())
    other.double()
    copied.double()
    assert copied.head.towers is copied.backbone.towers is not one.towers
    assert copied.towers.image._visual is copied.towers.clip.visual
    torch.testing.assert_close(one(images, mode='tensor'), before, rtol=0, atol=0)
    torch.testing.assert_close(other(images.double(), mode='tensor').float(), before)


def test_averages_of_weights_work(clip: dict):
    model = MODELS.build(model_of(clip)).eval()
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    averaged = ExponentialMovingAverage(model, momentum=0.5, update_buffers=True)
    averaged.update_parameters(model)
    before = averaged(images, mode='tensor')
    with torch.no_grad():
        model.head.global_prompts.add_(1)
    torch.testing.assert_close(averaged(images, mode='tensor'), before, rtol=0, atol=0)
    averaged.update_parameters(model)
    expected = model.head.global_prompts - 0.5
    torch.testing.assert_close(averaged.module.head.global_prompts, expected)


def test_a_checkpoint_of_another_clip_is_refused_whatever_the_head(clip: dict, tmp_path: Path):
    linear = dict(type='LinearClsHead', num_classes=2, in_channels=24)
    model = MODELS.build(model_of(clip, neck=None, head=linear))
    other = MODELS.build(model_of({**clip, 'quick_gelu': True}, neck=None, head=linear))
    with pytest.raises(RuntimeError, match=r'QuickGELU\), but this model has CLIP'):
        load_state_dict(model, other.state_dict())
    diverged = model.state_dict()
    diverged['head.fc.bias'] = torch.tensor([0.0, float('nan')])
    with pytest.raises(RuntimeError, match=r'head\.fc\.bias with 1 of 2 numbers NaN'):
        load_state_dict(model, diverged)


@pytest.mark.parametrize(
    ('key', 'owner'),
    [('backbone.layers.0.ln1.weight', 'MMPretrain'), ('vision_model.a', 'the transformers')],
)
def test_other_formats_are_named(tmp_path: Path, key: str, owner: str):
    file = str(save_bare({key: torch.ones(24)}, tmp_path))
    with pytest.raises(ValueError, match=rf'are those of {owner}.*take the file of OpenAI'):
        load_clip(write_model(tmp_path), file)


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_weights_that_are_no_numbers_are_refused_by_name(state, tmp_path: Path, value: float):
    damaged = {key: tensor.clone() for key, tensor in state.items()}
    damaged['visual.ln_post.bias'][3] = value
    with pytest.raises(ValueError, match=r'1 of 24 numbers of visual\.ln_post\.bias are NaN'):
        load_clip(write_model(tmp_path), str(save_bare(damaged, tmp_path)))


@pytest.mark.parametrize('part', ['backbone', 'neck', 'head'])
def test_a_clip_of_a_part_s_own_is_refused_beside_the_model_s(clip: dict, part: str):
    model = model_of(clip)
    model[part] = {**model[part], 'clip': clip}
    with pytest.raises(TypeError, match=r'one CLIP for all its parts; set model\.clip'):
        MODELS.build(model)


def test_a_part_without_clip_says_where_it_comes_from():
    with pytest.raises(TypeError, match=r"expected a clip=dict\(.*type='CLIPClassifier'"):
        MODELS.build(dict(type='OpenCLIPViT'))


def test_a_failed_construction_lends_nothing(clip: dict):
    with pytest.raises(TypeError):
        MODELS.build(model_of(clip, neck=dict(type='LocalProjectionNeck', learned=True)))
    with pytest.raises(TypeError, match='has no CLIP'):
        MODELS.build(dict(type='OpenCLIPViT'))


def test_a_run_of_parts_with_different_clips_is_refused(clip: dict):
    """In MMPretrain's own classifier each part has a CLIP of its own; they must be the same."""
    for of_neck in (clip, {**clip, 'pretrained': None}, {**clip, 'quick_gelu': True}):
        model = MODELS.build(
            dict(
                type='ImageClassifier',
                backbone=dict(type='OpenCLIPViT', clip=clip),
                neck=dict(type='LocalProjectionNeck', clip=of_neck),
            )
        )
        dataset = SimpleNamespace(metainfo={})
        runner = SimpleNamespace(model=model, test_dataloader=SimpleNamespace(dataset=dataset))
        check = HOOKS.build(dict(type='ClassNamesCheckHook')).before_test
        if of_neck is clip:
            check(runner)
        else:
            with pytest.raises(ValueError, match='different CLIPs, OpenCLIPViT and LocalProj'):
                check(runner)


def test_clip_is_in_no_checkpoint_and_no_optimiser(clip: dict):
    model = MODELS.build(model_of(clip))
    learned = {'neck.local_projection.weight', 'head.global_prompts', 'head.local_prompts'}
    assert set(model.state_dict()) == {*learned, '_extra_state', 'head._extra_state'}
    assert set(dict(model.named_parameters())) == learned


def test_clip_is_frozen(clip: dict):
    towers = load_clip(**clip)
    assert not towers.clip.training
    assert not any(parameter.requires_grad for parameter in towers.clip.parameters())


def test_clip_moves_with_its_holder(clip: dict):
    backbone = MODELS.build(dict(type='OpenCLIPViT', clip=clip)).to(torch.float64)
    assert {p.dtype for p in backbone.towers.clip.parameters()} == {torch.float64}
    feats = backbone(torch.zeros(1, 3, 12, 12, dtype=torch.float64))
    assert feats.patches.dtype is torch.float64


def test_building_towers_consumes_no_random_numbers(clip: dict):
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    towers = load_clip(**clip)
    torch.testing.assert_close(torch.rand(4), expected, rtol=0, atol=0)
    assert towers.image.width == 24


# ------------------------------------------------------------------ file formats


def save_bare(state: dict, folder: Path) -> Path:
    torch.save(state, folder / 'weights.pt')
    return folder / 'weights.pt'


def save_of_distributed_run(state: dict, folder: Path) -> Path:
    prefixed = {f'module.{key}': value for key, value in state.items()}
    torch.save({'epoch': 3, 'state_dict': prefixed}, folder / 'epoch_3.pth')
    return folder / 'epoch_3.pth'


def save_safetensors(state: dict, folder: Path) -> Path:
    save_file(state, folder / 'open_clip_model.safetensors')
    return folder / 'open_clip_model.safetensors'


def save_half(state: dict, folder: Path) -> Path:
    halved = {key: value.half() for key, value in state.items()}
    halved['logit_scale'] = halved['logit_scale'].reshape(1)
    return save_bare(halved, folder)


@pytest.mark.parametrize('save', [save_bare, save_of_distributed_run, save_safetensors])
def test_reads_state_dicts(state, tmp_path: Path, save):
    towers = load_clip(write_model(tmp_path), str(save(state, tmp_path)))
    assert_holds(towers, state)
    assert towers.identity['quick_gelu'] is False
    torch.testing.assert_close(towers.logit_scale, torch.tensor(100.0))


def test_half_precision_weights_are_held_in_float32(state, tmp_path: Path):
    towers = load_clip(write_model(tmp_path), str(save_half(state, tmp_path)))
    assert_holds(towers, {key: value.half().float() for key, value in state.items()})


def save_torchscript(state: dict[str, torch.Tensor], file: Path, extras: dict) -> str:
    """Like OpenAI's: an archive of a module whose parameters have CLIP's names."""
    root = nn.Module()
    for key, value in state.items():
        *path, name = key.split('.')
        module = root
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = getattr(module, part)
        module.register_parameter(name, nn.Parameter(value.clone()))
    for name, number in extras.items():
        root.register_buffer(name, torch.tensor(number))
    torch.jit.script(root).save(file)
    return str(file)


@pytest.mark.filterwarnings('ignore:`torch.jit')
@pytest.mark.parametrize(
    'extras', [{}, dict(input_resolution=12, context_length=77, vocab_size=49408)]
)
def test_openai_s_archive_turns_quick_gelu_on(state, tmp_path: Path, extras: dict):
    file = save_torchscript(state, tmp_path / 'ViT.pt', extras)
    towers = load_clip(write_model(tmp_path), file)
    assert_holds(towers, state)
    assert towers.identity['quick_gelu'] is True
    assert activations(towers) == {QuickGELU}


def test_openai_s_entries_in_a_state_dict_turn_quick_gelu_on(state, tmp_path: Path):
    marked = {**state, 'input_resolution': torch.tensor(12)}
    towers = load_clip(write_model(tmp_path), str(save_bare(marked, tmp_path)))
    assert towers.identity['quick_gelu'] is True
    assert_holds(towers, state)


# ------------------------------------------------------------------ activation


@pytest.mark.parametrize('told', [True, False])
@pytest.mark.parametrize('by', ['config beside', 'setting', 'model config', 'tag'])
def test_what_tells_the_activation(state, tmp_path, monkeypatch, told: bool, by: str):
    """Whatever knows less says the opposite."""
    model = write_model(
        tmp_path, config_with(quick_gelu=told if by == 'model config' else not told)
    )
    file, asked = str(save_safetensors(state, tmp_path)), None
    if by in ('config beside', 'setting'):
        beside = {'quick_gelu': True} if told is (by == 'config beside') else {}
        (tmp_path / 'open_clip_config.json').write_text(json.dumps({'model_cfg': beside}))
        asked = told if by == 'setting' else None
    if by == 'tag':
        monkeypatch.setattr(open_clip, 'get_pretrained_cfg', lambda *_: {'quick_gelu': told})
        monkeypatch.setattr(open_clip, 'download_pretrained', lambda tag, file=file: file)
        file = 'some_tag'
    towers = load_clip(model, file, asked)
    assert towers.identity['quick_gelu'] is told
    assert activations(towers) == {QuickGELU if told else nn.GELU}


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ('model_name', 'pretrained', 'message'),
    [
        ('ViT-B-17', None, r"model_name='ViT-B-17' is not a model of open_clip"),
        ('nowhere.json', None, r'nowhere\.json.*no such model config'),
        ('ViT-B-32', 'nowhere.pt', r"pretrained='nowhere\.pt' is neither a file nor"),
        ('ViT-B-32', 'opnai', r"'opnai' is neither .*'ViT-B-32'.*'openai'"),
    ],
)
def test_names_of_nothing(model_name: str, pretrained: str | None, message: str):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_clip(model_name, pretrained)


@pytest.mark.parametrize('save', [save_bare, save_safetensors])
def test_truncated_weights_are_named(state, tmp_path: Path, save):
    file = save(state, tmp_path)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf'{file.name} cannot be read as a CLIP checkpoint'):
        load_clip(write_model(tmp_path), str(file))


def test_a_wrong_number_is_noticed(state, tmp_path: Path):
    file = save_bare(state, tmp_path)
    data = bytearray(file.read_bytes())
    data[data.index(state['visual.proj'].numpy().tobytes()) + 2] ^= 1
    file.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r'the checksum of .* in it is wrong'):
        load_clip(write_model(tmp_path), str(file))


@pytest.mark.parametrize(
    'content', ['[1]', '{"model_cfg": 3}', '{"model_cfg": {"quick_gelu": 1}}']
)
def test_a_config_beside_the_file_of_another_form_is_named(state, tmp_path: Path, content: str):
    (tmp_path / 'open_clip_config.json').write_text(content)
    with pytest.raises(ValueError, match=r"open_clip_config\.json is not open_clip's"):
        load_clip(write_model(tmp_path), str(save_bare(state, tmp_path)))


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        ('{', 'is not JSON'),
        ('[]', 'is no open_clip model config: it lacks'),
        ('{}', 'is no open'),
        ('{"embed_dim": 8, "vision_cfg": {}}', "is no open_clip model config.*'text_cfg'"),
    ],
)
def test_a_model_config_of_another_form_is_named(tmp_path: Path, content: str, message: str):
    file = tmp_path / 'model.json'
    file.write_text(content)
    with pytest.raises(ValueError, match=rf'model\.json {message}'):
        load_clip(str(file))


class Anything:
    """An object that only a full unpickling, which may run code, would bring back."""


@pytest.mark.parametrize(
    'content', [[torch.zeros(2)], {'a': 1}, Anything()], ids=['list', 'numbers', 'object']
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content):
    file = tmp_path / 'else.pt'
    torch.save(content, file)
    with pytest.raises(ValueError, match=r'else\.pt cannot be read as a CLIP checkpoint'):
        load_clip(write_model(tmp_path), str(file))


def test_weights_of_another_architecture(tmp_path: Path):
    clip = write_clip(tmp_path, config_with(vision=dict(layers=1)))
    clip['model_name'] = write_model(tmp_path / 'deeper', CONFIG)
    with pytest.raises(
        ValueError,
        match=r'small\.pt does not fit model_name=.*first is visual\.transformer\.resblocks\.1',
    ):
        load_clip(**clip)


def test_weights_of_another_width_name_both_shapes(tmp_path: Path):
    clip = write_clip(tmp_path, config_with(embed_dim=9))
    clip['model_name'] = write_model(tmp_path / 'wider', CONFIG)
    with pytest.raises(ValueError, match=r'text_projection: expected \(16, 10\), found \(16, 9\)'):
        load_clip(**clip)


@pytest.mark.parametrize(
    'clip',
    [
        'ViT-B-16',
        dict(pretrained='openai'),
        dict(model_name='ViT-B-16', pretrained='openai', precision='fp16'),
    ],
    ids=['no dict', 'no model_name', 'unknown key'],
)
def test_clip_of_another_form(clip):
    with pytest.raises(TypeError, match=r'expected dict\(model_name=\.\.\., pretrained=\.\.\.\)'):
        build_towers(clip)


@pytest.mark.parametrize(
    ('model_name', 'pretrained', 'why'),
    [
        ('RN50', 'openai', 'ResNet towers are not supported yet; only plain open_clip ViTs'),
        ('RN50', None, 'ResNet towers are not supported yet'),
        ('ViT-B-16-SigLIP', 'webli', 'only plain open_clip ViTs'),
        ('coca_ViT-B-32', 'laion2b_s13b_b90k', 'only plain open_clip ViTs'),
    ],
)
def test_other_kinds_are_refused_before_anything_is_fetched(
    model_name: str, pretrained: str | None, why: str, monkeypatch
):
    def fetch(*args, **kwargs):
        pytest.fail('weights were fetched')

    monkeypatch.setattr('open_clip.download_pretrained', fetch)
    with pytest.raises(TypeError, match=rf'{model_name}: {why}'):
        load_clip(model_name, pretrained)


@pytest.mark.parametrize(
    ('changed', 'culprit'),
    [
        (dict(vision=dict(pool_type='avg')), "pool_type='avg'"),
        (dict(vision=dict(attentional_pool=True, attn_pooler_heads=2)), 'attentional pooler'),
        (dict(vision=dict(patch_dropout=0.5)), 'patch dropout'),
        (dict(text=dict(no_causal_mask=True)), 'no causal text mask'),
        (dict(text=dict(pool_type='last')), "text pool_type='last'"),
    ],
)
def test_variants_that_would_be_computed_wrongly_are_refused(tmp_path, changed, culprit: str):
    model = write_model(tmp_path, config_with(**changed))
    with pytest.raises(TypeError, match=rf'only plain open_clip ViTs.*{culprit}'):
        load_clip(model)


def test_a_tag_that_cannot_be_fetched_names_a_file_to_bring(monkeypatch):
    def no_network(tag):
        raise OSError('no route to host')

    monkeypatch.setattr(open_clip, 'download_pretrained', no_network)
    with pytest.raises(FileNotFoundError) as caught:
        load_clip('ViT-B-32', 'openai')
    message = str(caught.value)
    assert "'openai' of 'ViT-B-32' could not be fetched (OSError)" in message
    assert 'ViT-B-32.pt (original release)' in message
    line = "clip = dict(model_name='ViT-B-32', pretrained='/path/to/that/file', quick_gelu=True)"
    assert line in message, 'the file alone would not tell the activation'


@pytest.mark.parametrize(
    ('model_name', 'either'),
    [('ViT-B-16', True), ('ViT-B/16', True), ('ViT-B-32-256', False), ('/some/where.json', False)],
)
def test_models_whose_weights_may_have_either_activation(model_name: str, either: bool):
    assert _either_activation(model_name) is either


def test_weights_that_may_have_either_activation_are_warned_of(clip: dict, monkeypatch):
    told = []
    monkeypatch.setattr('sotglp_mm.clip.load._either_activation', lambda name: True)
    monkeypatch.setattr(
        'sotglp_mm.clip.load.print_log',
        lambda message, logger, level: told.append((level, message)),
    )
    towers = [load_clip(**clip), load_clip(**clip, quick_gelu=False)]
    assert [level for level, _ in told] == [logging.WARNING, logging.INFO]
    assert 'set quick_gelu in clip=dict(...)' in told[0][1]
    assert not any(each.identity['quick_gelu'] for each in towers)


def test_the_mlp_is_open_clip_s_and_keeps_one_hidden_tensor():
    torch.manual_seed(0)
    layers = dict(c_fc=nn.Linear(6, 24), gelu=QuickGELU(), c_proj=nn.Linear(24, 6))
    theirs = nn.Sequential(OrderedDict(layers)).double().requires_grad_(False)
    ours = QuickGELUMLP(OrderedDict(layers))
    x = 5 * torch.randn(2, 5, 6, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x))
    x.requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        found = ours(x)
    assert sum(tensor.numel() == 2 * 5 * 24 for tensor in kept) == 1
    gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y in (found, theirs(x))]
    torch.testing.assert_close(*gradients)
