"""Loading CLIP by open_clip, and lending it to the parts of a model while they are built."""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from open_clip.transformer import ResidualAttentionBlock
from torch import Tensor, nn

from ..io.checkpoint_file import not_finite
from .config import PLAIN_ONLY, check_kind, naming_config, read_clip_config
from .towers import ClipTowers
from .weights import CLIPWeights, read_clip_weights

ASSETS = Path(__file__).parents[1] / 'demo' / 'assets'

EMBEDDED = {name: ASSETS / name.replace('-', '_') for name in ('sotglp-demo', 'sotglp-photos')}
"""The tiny CLIPs that the package carries: name, as ``model_name`` and as ``pretrained``, and
files without their suffix."""

OTHER_FORMATS = {
    'backbone.': 'MMPretrain, whose CLIP files hold the image tower alone',
    'vision_model.': 'the transformers library',
}
"""First part of the keys in which others keep a CLIP."""

_lent: ContextVar[ClipTowers | None] = ContextVar('lent', default=None)
_loaded: ContextVar[dict[str, ClipTowers] | None] = ContextVar('loaded', default=None)


@contextmanager
def _inside(variable: ContextVar, value: Any) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def lend(towers: ClipTowers) -> AbstractContextManager[None]:
    """Parts of a model that are built inside share these towers."""
    return _inside(_lent, towers)


def sharing_towers() -> AbstractContextManager[None]:
    """Models that are built inside, one after another, share the towers of equal settings.

    Towers are frozen; those that were moved to another dtype are loaded anew.
    """
    return _inside(_loaded, {})


def towers_for_part(clip: dict | None) -> ClipTowers:
    """The towers that :class:`CLIPClassifier` lends to a part, or those of the part's ``clip``."""
    lent = _lent.get()
    if lent is not None and clip is not None:
        raise TypeError(
            f'a part has clip={clip!r}, but CLIPClassifier has one CLIP for all its parts; set '
            'model.clip, and leave clip out of backbone, neck and head'
        )
    if lent is None and clip is None:
        raise TypeError(
            'a part has no CLIP; expected a clip=dict(model_name=..., pretrained=...) of its own, '
            "or model=dict(type='CLIPClassifier', clip=dict(...), ...) around it"
        )
    return lent or build_towers(clip)


def build_towers(clip: dict | None) -> ClipTowers:
    """Towers from a config's ``clip = dict(model_name=..., pretrained=...)``."""
    known = {'model_name', 'pretrained', 'quick_gelu'}
    if not isinstance(clip, dict) or 'model_name' not in clip or set(clip) - known:
        raise TypeError(
            f'clip={clip!r}: expected dict(model_name=..., pretrained=...), '
            f'with no other keys than {", ".join(sorted(known))}'
        )
    loaded = _loaded.get()
    if loaded is None:
        return load_clip(**clip)
    key = repr(sorted(clip.items()))
    if key not in loaded or loaded[key].clip.logit_scale.dtype != torch.float32:
        loaded[key] = load_clip(**clip)
    loaded[key].clip.cpu()
    return loaded[key]


def load_clip(
    model_name: str, pretrained: str | None = None, quick_gelu: bool | None = None
) -> ClipTowers:
    """Load a CLIP.

    Args:
        model_name: An open_clip model name, the path of an open_clip model-config JSON, or
            one of :data:`EMBEDDED`, the tiny CLIPs that the package carries.
        pretrained: An open_clip tag (fetched and cached by open_clip), the path of a checkpoint
            (see :func:`read_clip_weights`), one of :data:`EMBEDDED`, or None for random weights.
        quick_gelu: The activation that the weights were trained with. By default it follows the
            weights: the tag, OpenAI's archive or an ``open_clip_config.json`` beside the file
            says it; else the model config does.

    Raises:
        FileNotFoundError: The config or checkpoint does not exist, or cannot be fetched.
        TypeError: The model is not a plain open_clip ViT with a causal text tower.
        ValueError: Unknown model name, or a checkpoint that does not fit it.
    """
    config, folder = _model_config(model_name)
    check_kind(model_name, config)  # before anything is fetched
    weights = _weights(model_name, pretrained, config)
    activation = config.get('quick_gelu', False)
    if quick_gelu is not None:
        activation = quick_gelu
    elif weights is not None and weights.quick_gelu is not None:
        activation = weights.quick_gelu
    clip = _build(model_name, {**config, 'quick_gelu': activation})
    if weights is not None:
        _fill(clip, weights.state_dict, model_name, pretrained)
    with naming_config(model_name):
        tokenizer = _tokenizer(config['text_cfg'], folder)
    _log(model_name, pretrained, quick_gelu, weights, activation)
    return ClipTowers(clip, tokenizer, model_name, pretrained, activation)


def _model_config(model_name: str) -> tuple[dict, Path]:
    """An open_clip model config, and the folder that its relative paths start from."""
    embedded = EMBEDDED.get(model_name)
    path = embedded.with_suffix('.json') if embedded else Path(model_name).expanduser()
    if path.suffix != '.json':
        config = open_clip.get_model_config(model_name.replace('/', '-'))
        if config is None:
            raise ValueError(
                f'model_name={model_name!r} is not a model of open_clip {open_clip.__version__}; '
                'see open_clip.list_models(), or give the path of a model-config .json'
            )
        return config, Path()
    if not path.is_file():
        raise FileNotFoundError(f'model_name={model_name!r}: there is no such model config')
    return read_clip_config(path), path.parent


def _weights(model_name: str, pretrained: str | None, config: dict) -> CLIPWeights | None:
    if pretrained is None:
        return None
    if pretrained in EMBEDDED:
        weights = read_clip_weights(EMBEDDED[pretrained].with_suffix('.safetensors'))
        active = config.get('quick_gelu', False)
        return weights._replace(quick_gelu=active, source='its model config says so')
    tag = open_clip.get_pretrained_cfg(model_name.replace('/', '-'), pretrained)
    if not tag:
        if not Path(pretrained).expanduser().is_file():
            raise FileNotFoundError(
                f'pretrained={pretrained!r} is neither a file nor an open_clip tag of '
                f'{model_name!r} (tags: {open_clip.list_pretrained_tags_by_model(model_name)})'
            )
        return read_clip_weights(pretrained)
    weights = read_clip_weights(_fetch(model_name, pretrained, tag))
    active = bool(tag.get('quick_gelu', False))
    return weights._replace(quick_gelu=active, source=f"open_clip's tag {pretrained!r} says so")


def _fetch(model_name: str, pretrained: str, tag: dict) -> str:
    try:
        return open_clip.download_pretrained(tag)
    except Exception as error:  # each hub and transport raises its own kind
        hub, url = tag.get('hf_hub', ''), tag.get('url', '')
        offers = [
            f'{hub}open_clip_model.safetensors on the Hugging Face hub' if hub else '',
            url.rsplit('/', 1)[-1] + ' (original release)' if url else '',
        ]
        # the file itself may not tell, and with the wrong one everything is a little worse
        activation = ', quick_gelu=True' if tag.get('quick_gelu') else ''
        raise FileNotFoundError(
            f'The weights {pretrained!r} of {model_name!r} could not be fetched '
            f'({type(error).__name__}). On a machine without internet, bring one of these '
            f'files: {"; ".join(filter(None, offers))}; and set in the config: '
            f"clip = dict(model_name={model_name!r}, pretrained='/path/to/that/file'{activation})"
        ) from error


def _build(model_name: str, config: dict) -> open_clip.CLIP:
    config.pop('custom_text', None)
    # what is drawn next (prompts) must not depend on whether the towers were loaded before
    with torch.random.fork_rng(devices=[]), naming_config(model_name):
        clip = open_clip.CLIP(**config)
    _check_plain(clip, model_name)
    if config.get('quick_gelu'):
        for block in (*clip.visual.transformer.resblocks, *clip.transformer.resblocks):
            block.mlp = QuickGELUMLP(OrderedDict(block.mlp.named_children()))
    return clip


class QuickGELUMLP(nn.Sequential):
    """The MLP of a block whose activation is ``x * sigmoid(1.702 x)``, as in OpenAI's CLIP.

    ``silu(1.702 x) / 1.702`` is the same, and both factors go into the matrix products: of the
    hidden layer, which most of a text tower's memory and half of its elementwise work go to, one
    tensor is made and kept instead of three.
    """

    c_fc: nn.Linear
    c_proj: nn.Linear

    def forward(self, x: Tensor) -> Tensor:
        """(..., d) to (..., d)."""
        fc, proj, slope = self.c_fc, self.c_proj, 1.702
        hidden = torch.addmm(fc.bias, x.flatten(0, -2), fc.weight.T, beta=slope, alpha=slope)
        hidden = F.silu(hidden, inplace=not hidden.requires_grad)
        out = torch.addmm(proj.bias, hidden, proj.weight.T, alpha=1 / slope)
        return out.view(*x.shape[:-1], -1)


def _check_plain(clip: open_clip.CLIP, model_name: str) -> None:
    """Refuse what the V-V stream or the prompt encoder would silently compute wrongly."""
    visual = clip.visual
    blocks = [*visual.transformer.resblocks, *clip.transformer.resblocks]
    oddities = {
        'an attentional pooler': visual.attn_pool is not None,
        f'pool_type={visual.pool_type!r}': visual.pool_type != 'tok',
        'final_ln_after_pool': visual.final_ln_after_pool,
        'patch dropout': not isinstance(visual.patch_dropout, nn.Identity),
        'custom attention blocks': not all(isinstance(b, ResidualAttentionBlock) for b in blocks),
        'no image projection': visual.proj is None,
        'no causal text mask': clip.attn_mask is None,
        f'text pool_type={clip.text_pool_type!r}': clip.text_pool_type not in ('argmax', 'eos'),
        'no plain text projection': not isinstance(clip.text_projection, Tensor),
    }
    for oddity, present in oddities.items():
        if present:
            raise TypeError(f'{model_name}: {PLAIN_ONLY}, and it has {oddity}')


def _fill(
    clip: open_clip.CLIP, state: dict[str, Tensor], model_name: str, file: str | None
) -> None:
    expected = clip.state_dict()
    if 'logit_scale' in state:  # some checkpoints keep it as (1,)
        state['logit_scale'] = state['logit_scale'].reshape(expected['logit_scale'].shape)
    sizes, found = (
        {key: tuple(value.shape) for key, value in each.items()} for each in (expected, state)
    )
    wrong = [key for key in sorted({*sizes, *found}) if sizes.get(key) != found.get(key)]
    if wrong:
        one, other = (each.get(wrong[0], 'nothing') for each in (sizes, found))
        raise ValueError(
            f'{file} does not fit model_name={model_name!r}: {len(wrong)} of {len(expected)} '
            f'weights differ, the first is {wrong[0]}: expected {one}, found {other}. '
            f'{_advice(state)}'
        )
    state = {key: value.float() for key, value in state.items()}
    for key, count in not_finite(state).items():
        raise ValueError(
            f'{file}: {count} numbers of {key} are NaN or infinite; the file is damaged. Fetch or '
            'copy it again.'
        )
    clip.load_state_dict(state)


def _advice(state: dict[str, Tensor]) -> str:
    for prefix, owner in OTHER_FORMATS.items():
        if any(key.startswith(prefix) for key in state):
            return (
                f'Its keys ({prefix}...) are those of {owner}; take the file of OpenAI or of '
                'open_clip, with both towers.'
            )
    return 'Name the model that it belongs to.'


def _tokenizer(text_config: dict, folder: Path) -> open_clip.SimpleTokenizer:
    options = dict(text_config.get('tokenizer_kwargs') or {})
    if 'bpe_path' in options:
        options['bpe_path'] = str(folder / options['bpe_path'])
    length, words = text_config.get('context_length', 77), text_config.get('vocab_size', 49408)
    tokenizer = open_clip.SimpleTokenizer(context_length=length, **options)
    if tokenizer.vocab_size > words:
        found = tokenizer.vocab_size
        raise ValueError(f'the tokenizer knows {found} words, vocab_size is {words}')
    return tokenizer


def _log(
    model_name: str, pretrained: str | None, asked: bool | None, weights: Any, activation: bool
) -> None:
    if weights is None:
        print_log(
            f'CLIP {model_name} has RANDOM weights (pretrained=None): for tests only',
            logger='current',
            level=logging.WARNING,
        )
        return
    source = 'the config says so' if asked is not None else weights.source
    level = logging.INFO if source or not _either_activation(model_name) else logging.WARNING
    source = source or (
        f"{pretrained} does not tell, so as in {model_name}'s model config; set quick_gelu in "
        'clip=dict(...) if these weights were trained otherwise'
    )
    name = 'QuickGELU' if activation else 'GELU'
    text = f'CLIP {model_name} from {pretrained}; {name} ({source})'
    print_log(text, logger='current', level=level)


def _either_activation(model_name: str) -> bool:
    """Were some of the weights that open_clip knows for a model trained with each activation?"""
    name = model_name.replace('/', '-')
    tags = open_clip.list_pretrained_tags_by_model(name)
    known = (open_clip.get_pretrained_cfg(name, tag) for tag in tags)
    return len({bool(each.get('quick_gelu', False)) for each in known}) > 1
