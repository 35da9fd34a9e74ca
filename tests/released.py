"""The parity fixtures: what the released program computes on small, formula-made weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch

DATA = Path(__file__).parent / 'data'
FIXTURES = ('released_tiny', 'released_tiny_noproj')


class Released:
    """One fixture: its arrays as tensors, and a CLIP on disk with its weights."""

    def __init__(self, name: str, folder: Path):
        self.name = name
        self.arrays = dict(np.load(DATA / f'{name}.npz'))
        self.class_names = [str(n) for n in self.arrays['class_names']]
        self.has_projection = 'local_projection' in self.arrays
        self.clip = self._write_clip(folder)

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key])

    def _model_config(self) -> dict:
        c = {k[4:]: int(v) for k, v in self.arrays.items() if k.startswith('cfg_')}
        return dict(
            embed_dim=c['embed'],
            quick_gelu=True,
            vision_cfg=dict(
                image_size=c['res'], layers=c['vl'], width=c['vw'], patch_size=c['ps']
            ),
            text_cfg=dict(
                context_length=c['ctx'],
                vocab_size=c['vocab'],
                width=c['tw'],
                heads=c['th'],
                layers=c['tl'],
            ),
        )

    def _write_clip(self, folder: Path) -> dict:
        config = self._model_config()
        state = formula_weights(open_clip.CLIP(**config).state_dict(), int(self.arrays['seed']))
        json_file, weights = folder / f'{self.name}.json', folder / f'{self.name}.pt'
        json_file.write_text(json.dumps(config))
        torch.save(state, weights)
        return dict(model_name=str(json_file), pretrained=str(weights))

    def model_config(self, **head: Any) -> dict:
        """A CLIPClassifier with the fixture's settings."""
        return dict(
            type='CLIPClassifier',
            clip=self.clip,
            backbone=dict(type='OpenCLIPViT'),
            neck=dict(type='LocalProjectionNeck', learn=self.has_projection),
            head=dict(
                type='SOTGLPHead',
                class_names=self.class_names,
                num_global_prompts=int(self.arrays['n_global']),
                num_local_prompts=int(self.arrays['n_local']),
                selector=dict(type='SparsePatchSelector', k=int(self.arrays['topk'])),
                **head,
            ),
        )

    def load_learned(self, model: Any) -> None:
        """Give a model the fixture's prompts and projection."""
        state = {
            'head.global_prompts': self['global_prompts'],
            'head.local_prompts': self['local_prompts'],
        }
        if self.has_projection:
            state['neck.local_projection.weight'] = self['local_projection']
        model.load_state_dict(state)


def formula_weights(state: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """CLIP weights by the formula of the fixtures: one random stream over the sorted keys."""
    rng = np.random.RandomState(seed)
    made = {}
    for key in sorted(state):
        if key == 'logit_scale':
            made[key] = torch.tensor(np.log(100), dtype=torch.float32)
            continue
        z = torch.from_numpy(rng.standard_normal(tuple(state[key].shape)).astype(np.float32))
        made[key] = _scaled(key, z)
    return made


def _scaled(key: str, z: torch.Tensor) -> torch.Tensor:
    if '.ln_' in key or key.startswith('ln_final'):
        return 1 + 0.1 * z if key.endswith('weight') else 0.02 * z
    if key.endswith('bias'):
        return 0.02 * z
    if key in ('token_embedding.weight', 'positional_embedding'):
        return 0.5 * z
    if key in ('visual.class_embedding', 'visual.positional_embedding'):
        return 0.3 * z
    if key.endswith('in_proj_weight'):
        return 1.5 * z / z.shape[1] ** 0.5
    if key == 'visual.conv1.weight':
        return z / z[0].numel() ** 0.5
    if key in ('visual.proj', 'text_projection'):
        return z / z.shape[0] ** 0.5
    return z / z.shape[1] ** 0.5


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Norm of the difference over the norm of what was expected."""
    assert found.shape == expected.shape, (found.shape, expected.shape)
    return float((found - expected).norm() / expected.norm())
