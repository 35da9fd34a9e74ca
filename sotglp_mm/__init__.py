"""SOT-GLP, local-global prompt learning via sparse optimal transport, as an MMPretrain plugin.

Importing the package registers every part in ``mmpretrain.registry``; a config asks for that with
``custom_imports = dict(imports=['sotglp_mm'], allow_failed_imports=False)``.
"""

from . import datasets, engine, evaluation, models  # noqa: F401

from .version import __version__  # noqa: F401
