"""SOT-GLP, local-global prompt learning via sparse optimal transport, as an MMPretrain plugin.

Importing the package registers every part in ``mmpretrain.registry``, and has no other effect. A
config asks for that with
``custom_imports = dict(imports=['sotglp_mm'], allow_failed_imports=False)``.
"""

import warnings

from .utils.stack_check import check_stack

check_stack()  # before the imports that would fail less clearly

with warnings.catch_warnings():
    # mmcv-lite warns about an operation that nothing here needs
    warnings.filterwarnings('ignore', message='Fail to import ``MultiScaleDeformableAttention``')
    from . import datasets, demo, engine, evaluation, features, models, visualization
from .version import __version__  # noqa: E402

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
