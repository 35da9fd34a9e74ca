"""Importing what warns of itself, whatever filters there are."""

import contextlib
import importlib
import warnings


def quiet_import(module: str, message: str) -> None:
    """Import a module, and drop the warnings of its import that begin like this.

    For modules that set the filters themselves (``simplefilter('always')``), so that no filter of
    ours would hold. Other warnings go their way; a module that is not there is left to those
    who need it.

    Args:
        module: Name of the module.
        message: How the warning begins.
    """
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(ImportError):
        importlib.import_module(module)
    for each in caught:
        if not str(each.message).startswith(message):
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
