"""The package's ``read_json``, without the package: importing that takes seconds."""

from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path

PACKAGE = Path(find_spec('sotglp_mm').origin).parent


def _load(file: Path):
    spec = spec_from_file_location(f'_{file.stem}', file)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


read_json = _load(PACKAGE / 'json_file.py').read_json
