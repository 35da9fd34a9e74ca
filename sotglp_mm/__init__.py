"""SOT-GLP, local-global prompt learning via sparse optimal transport, as an MMPretrain plugin.

Importing the package registers every part in ``mmpretrain.registry``; a config asks for that with
``custom_imports = dict(imports=['sotglp_mm'], allow_failed_imports=False)``.
"""

import warnings

from .utils.stack_check import check_stack

check_stack()  # before the imports that would fail less clearly

# mmcv-lite says so of an operation that nothing here needs
warnings.filterwarnings(
    'ignore', message='Fail to import ``MultiScaleDeformableAttention`` from ``mmcv.ops'
)

from . import datasets, demo, engine, evaluation, features, models, visualization  # noqa: E402
from .io.safe_loading import load_weights_only  # noqa: E402
from .version import __version__  # noqa: E402

load_weights_only()

__all__ = [
    '__version__',
    'datasets',
    'demo',
    'engine',
    'evaluation',
    'features',
    'models',
    'visualization',
]
