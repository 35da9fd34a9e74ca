"""Loading CLIP: shared, frozen, out of checkpoints; every file format; every refusal."""

import copy
import json
import logging
import pickle
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
from small_clip import CONFIG, classifier, config_with, small_state, write_clip, write_model
from torch import nn

from sotglp_mm.clip.config import read_clip_config
from sotglp_mm.clip.load import QuickGELUMLP, _either_activation, build_towers, load_clip
from sotglp_mm.clip.weights import read_torchscript_weights

LOAD = 'sotglp_mm.clip.load.'


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


def holders(model: nn.Module) -> list:
    return [module.towers for module in model.modules() if hasattr(module, 'towers')]


def test_all_parts_share_one_clip_nested_heads_too(clip: dict):
    tasks = dict(
        animals=dict(type='SOTGLPHead', class_names=['cat', 'dog']),
        sizes=dict(type='SOTGLPHead', class_names=['big', 'small', 'tiny']),
    )
    model = MODELS.build(classifier(clip, head=dict(type='MultiTaskHead', task_heads=tasks)))
    found = holders(model)
    assert len(found) == 7  # classifier, backbone, neck, two heads and their text encoders
    assert all(towers is model.towers for towers in found)


def test_two_models_share_nothing_and_a_checkpoint_no_clip(clip: dict):
    one, other = MODELS.build(classifier(clip)), MODELS.build(classifier(clip))
    learned = {'neck.local_projection.weight', 'head.global_prompts', 'head.local_prompts'}
    assert set(one.state_dict()) == {*learned, '_extra_state', 'head._extra_state'}
    assert set(dict(one.named_parameters())) == learned
    copied = copy.deepcopy(one)
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    before = one(images, mode='tensor')
    other.load_state_dict(one.state_dict())
    other.double()
    copied.double()
    assert copied.head.towers is copied.backbone.towers is not one.towers
    assert copied.towers.image._visual is copied.towers.clip.visual
    torch.testing.assert_close(one(images, mode='tensor'), before, rtol=0, atol=0)
    found = other(images.double(), mode='tensor').float()
    torch.testing.assert_close(found, before, rtol=1e-4, atol=1e-4)


def test_averages_of_weights_work(clip: dict):
    model = MODELS.build(classifier(clip)).eval()
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
    model = MODELS.build(classifier(clip, neck=None, head=linear))
    other = MODELS.build(classifier({**clip, 'quick_gelu': True}, neck=None, head=linear))
    with pytest.raises(RuntimeError, match=r'QuickGELU\), but this model has CLIP'):
        load_state_dict(model, other.state_dict())
    diverged = model.state_dict()
    diverged['head.fc.bias'] = torch.tensor([0.0, float('nan')])
    with pytest.raises(RuntimeError, match=r'head\.fc\.bias with 1 of 2 numbers NaN'):
        load_state_dict(model, diverged)


@pytest.mark.parametrize('part', ['backbone', 'neck', 'head'])
def test_a_clip_of_a_part_s_own_is_refused_beside_the_model_s(clip: dict, part: str):
    model = classifier(clip)
    with pytest.raises(TypeError):  # a failed construction lends nothing to the next
        MODELS.build(classifier(clip, neck=dict(type='LocalProjectionNeck', learned=True)))
    with pytest.raises(TypeError, match=r"expected a clip=dict\(.*type='CLIPClassifier'"):
        MODELS.build(model[part])
    model[part] = {**model[part], 'clip': clip}
    with pytest.raises(TypeError, match=r'one CLIP for all its parts; set model\.clip'):
        MODELS.build(model)


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


def test_building_towers_consumes_no_random_numbers(clip: dict):
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    load_clip(**clip)
    assert torch.equal(torch.rand(4), expected)


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


def save_marked(state: dict, folder: Path) -> Path:
    """With an entry of OpenAI's files."""
    return save_bare({**state, 'input_resolution': torch.tensor(12)}, folder)


@pytest.mark.parametrize(
    'save', [save_bare, save_of_distributed_run, save_safetensors, save_half, save_marked]
)
def test_reads_state_dicts(state, tmp_path: Path, save):
    towers = load_clip(write_model(tmp_path), str(save(state, tmp_path)))
    if save is save_half:  # held in float32
        state = {key: value.half().float() for key, value in state.items()}
    assert_holds(towers, state)
    assert towers.identity['quick_gelu'] is (save is save_marked)
    torch.testing.assert_close(towers.logit_scale, torch.tensor(100.0), rtol=1e-3, atol=0)


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


class Inner(nn.Module):
    """Parameters, a buffer, and a tensor and numbers that are neither."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.halved = nn.Linear(4, 4).half()
        self.register_buffer('counts', torch.arange(4))
        self.register_buffer('absent', None)
        self.plain = torch.ones(4)
        self.numbers = [1, 2]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x) * self.plain + self.counts


class Outer(nn.Module):
    """Modules in modules, a transposed parameter, a number, and a part that two modules share."""

    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.layers = nn.ModuleList([nn.Conv2d(1, 2, 2), nn.LayerNorm(4)])
        self.weight = nn.Parameter(torch.randn(4, 5).t())
        self.scale = nn.Parameter(torch.tensor(3.5))
        self.tied = self.inner.linear.weight
        self.none = nn.Parameter(torch.zeros(0, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) @ self.weight[:4] * self.scale


@pytest.mark.filterwarnings('ignore:`torch.jit')
@pytest.mark.parametrize(
    'make', [torch.jit.script, lambda m: torch.jit.trace(m, torch.ones(2, 3))]
)
def test_weights_are_those_that_torch_finds(tmp_path: Path, make):
    file = tmp_path / 'outer.pt'
    make(Outer()).save(file)
    expected = torch.jit.load(file).state_dict()
    found = read_torchscript_weights(file)
    assert set(found) == set(expected)
    assert {'inner.counts', 'layers.1.weight', 'tied', 'none'} < set(found)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor.detach(), rtol=0, atol=0)


class Strange(nn.Module):
    """Keeps what no weights are made of."""

    def __init__(self):
        super().__init__()
        self.place = torch.device('cpu')

    def forward(self) -> torch.device:
        return self.place


@pytest.mark.filterwarnings('ignore:`torch.jit')
def test_other_objects_are_refused(tmp_path: Path):
    torch.jit.script(Strange()).save(tmp_path / 'strange.pt')
    with pytest.raises(pickle.UnpicklingError, match=r'torch\.device is not allowed in it'):
        read_torchscript_weights(tmp_path / 'strange.pt')


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
    for clip in (
        'ViT-B-16',
        dict(pretrained='openai'),
        dict(model_name='ViT-B-16', pretrained='openai', precision='fp16'),
    ):
        with pytest.raises(TypeError, match=r'expected dict\(model_name=\.\.\., pretrained=\.\.'):
            build_towers(clip)


def flip_a_bit(state: dict, folder: Path) -> None:
    file = save_bare(state, folder)
    data = bytearray(file.read_bytes())
    data[data.index(state['visual.proj'].numpy().tobytes()) + 2] ^= 1
    file.write_bytes(bytes(data))


def truncate(state: dict, folder: Path) -> None:
    file = save_bare(state, folder)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def no_numbers(state: dict, folder: Path) -> None:
    damaged = {key: tensor.clone() for key, tensor in state.items()}
    damaged['visual.ln_post.bias'][3:5] = torch.tensor([float('nan'), float('inf')])
    save_bare(damaged, folder)


def no_dict(state: dict, folder: Path) -> None:
    torch.save([torch.zeros(2)], folder / 'weights.pt')


def named(name: str):
    """Weights of another toolbox."""
    return lambda state, folder: save_bare({name: torch.ones(24)}, folder)


def beside(name: str, content: str):
    return lambda state, folder: save_bare(state, folder) and (folder / name).write_text(content)


@pytest.mark.parametrize(
    ('damage', 'message'),
    [
        (flip_a_bit, r'the checksum of .* in it is wrong'),
        (truncate, r'weights\.pt cannot be read as a CLIP checkpoint'),
        (no_dict, r'it holds a list, not a dict of named tensors'),
        (no_numbers, r'2 of 24 numbers of visual\.ln_post\.bias are NaN'),
        (named('backbone.layers.0.ln1.weight'), 'are those of MMPretrain.*take the file of Open'),
        (named('vision_model.a'), 'are those of the transformers.*take the file of OpenAI'),
        (
            beside('open_clip_config.json', '{"model_cfg": {"quick_gelu": 1}}'),
            r"open_clip_config\.json is not open_clip's",
        ),
        (
            beside('small.json', '{"embed_dim": 8, "vision_cfg": {}}'),
            r"small\.json is no open_clip model config: it lacks \['text_cfg'",
        ),
    ],
)
def test_files_of_another_form_are_named(state, tmp_path: Path, damage, message: str):
    model = write_model(tmp_path)
    damage(state, tmp_path)
    with pytest.raises(ValueError, match=message):
        load_clip(model, str(tmp_path / 'weights.pt'))


def test_what_a_model_config_may_say(tmp_path: Path):
    changed = config_with(vision=dict(image_size=[48, 32]), text=dict(mlp_ratio=2))
    for config in (CONFIG, changed):
        assert read_clip_config(Path(write_model(tmp_path, config))) == config


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        (dict(vision_cfg='x'), "vision_cfg is 'x'"),
        (dict(embed_dim=True), "embed_dim is 'True'"),
        (dict(vision_cfg=dict(width=0)), r"vision_cfg\.width is '0'"),
        (dict(quick_gelu='no'), "quick_gelu is 'no'"),
        (dict(vision_cfg=dict(width=10**9)), r'a CLIP of .* weights; expected at most 5e\+09'),
    ],
)
def test_values_that_no_config_has(tmp_path: Path, changes: dict, why: str):
    """Named before memory is asked for."""
    model = write_model(tmp_path, {**CONFIG, **changes})
    with pytest.raises(ValueError, match=rf'small\.json.*{why}'):
        read_clip_config(Path(model))


@pytest.mark.parametrize(
    ('changes', 'why'),
    [
        (dict(vision=dict(foo=1)), 'builds no CLIP .*foo'),
        (dict(text=dict(mlp_ratio='x')), 'builds no CLIP'),
        (dict(text=dict(tokenizer_kwargs=dict(bpe_path='absent.gz'))), 'builds no CLIP .*absent'),
        (dict(text=dict(vocab_size=10)), 'the tokenizer knows 49408 words, vocab_size is 10'),
    ],
)
def test_what_open_clip_cannot_build_names_the_config(tmp_path: Path, changes: dict, why: str):
    with pytest.raises(ValueError, match=rf'small\.json: open_clip .*{why}'):
        load_clip(write_model(tmp_path, config_with(**changes)))


@pytest.mark.parametrize(
    ('other', 'message'),
    [
        (dict(vision=dict(layers=1)), r'first is visual\.transformer\.resblocks\.1'),
        (dict(embed_dim=9), r'text_projection: expected \(16, 10\), found \(16, 9\)'),
    ],
)
def test_weights_of_another_architecture(tmp_path: Path, other: dict, message: str):
    clip = write_clip(tmp_path, config_with(**other))
    clip['model_name'] = write_model(tmp_path / 'asked', CONFIG)
    with pytest.raises(ValueError, match=rf'small\.pt does not fit model_name=.*{message}'):
        load_clip(**clip)


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
    monkeypatch.setattr('open_clip.download_pretrained', None)
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


def test_weights_that_may_have_either_activation_are_warned_of(clip: dict, monkeypatch):
    names = ('ViT-B-16', 'ViT-B/16', 'ViT-B-32-256', '/some/where.json')
    assert [*map(_either_activation, names)] == [True, True, False, False]
    told = []
    monkeypatch.setattr(LOAD + '_either_activation', lambda name: True)
    monkeypatch.setattr(LOAD + 'print_log', lambda text, logger, level: told.append((text, level)))
    towers = [load_clip(**clip), load_clip(**clip, quick_gelu=False)]
    assert [level for _, level in told] == [logging.WARNING, logging.INFO]
    assert 'set quick_gelu in clip=dict(...)' in told[0][0]
    assert not any(each.identity['quick_gelu'] for each in towers)


def test_the_mlp_is_open_clip_s():
    torch.manual_seed(0)
    layers = dict(c_fc=nn.Linear(6, 24), gelu=QuickGELU(), c_proj=nn.Linear(24, 6))
    theirs = nn.Sequential(OrderedDict(layers)).double().requires_grad_(False)
    ours = QuickGELUMLP(OrderedDict(layers))
    x = (5 * torch.randn(2, 5, 6, dtype=torch.float64)).requires_grad_()
    torch.testing.assert_close(ours(x), theirs(x))
    gradients = [torch.autograd.grad(mlp(x).square().sum(), x)[0] for mlp in (ours, theirs)]
    torch.testing.assert_close(*gradients)
