"""All settings of a job, flat, so that they can be compared and the first difference named."""

import json
import os

from mmengine.config import Config

NO_MATTER = (
    *('custom_imports', 'default_hooks', 'env_cfg', 'launcher', 'log_level', 'log_processor'),
    *('resume', 'vis_backends', 'visualizer', 'work_dir'),
)
"""Parts of a config that decide what is logged or kept, not what comes out."""


def flat_settings(cfg: Config) -> dict:
    """All that may decide a result, by dotted key; the same wherever $DATA is."""
    root = os.environ.get('DATA', 'data')
    kept = {key: value for key, value in cfg.to_dict().items() if key not in NO_MATTER}
    flat: dict = {}
    _flatten(json.loads(json.dumps(kept, default=str)), '', root, flat)
    return flat


def _flatten(value, key: str, root: str, flat: dict) -> None:
    if isinstance(value, (dict, list)) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for name, item in items:
            _flatten(item, f'{key}.{name}' if key else str(name), root, flat)
    elif isinstance(value, str) and (value == root or value.startswith(f'{root}/')):
        flat[key] = f'$DATA{value[len(root) :]}'
    else:
        flat[key] = value
