"""Who may import whom: the rooms of the house stay apart."""

import ast
from pathlib import Path

import pytest
from mini_runs import REPO

PACKAGE = REPO / 'sotglp_mm'
FLOOR = {
    'structures',
    'settings',
    'own_images',
    'class_names',
    'feature_cache',
    'feature_checksums',
    'checkpoint_file',
    'resumable_parts',
    'safe_loading',
    'json_file',
    'text_file',
}
OWN = {
    'structures': set(),
    'settings': set(),
    'stack_check': set(),
    'quiet_import': set(),
    'json_file': set(),
    'text_file': set(),
    'own_images': set(),
    'resumable_parts': set(),
    'safe_loading': set(),
    'checkpoint_file': {'resumable_parts', 'safe_loading'},
    'class_names': {'own_images', 'checkpoint_file', 'json_file', 'text_file'},
    'feature_cache': {'json_file'},
    'feature_checksums': {'feature_cache'},
    'functional': {'structures'},
    'models': FLOOR | {'functional'},
    'datasets': FLOOR,
    'evaluation': FLOOR | {'functional'},
    'engine': FLOOR | {'functional'},
    'visualization': FLOOR | {'functional'},
}
STACK = {'mmengine', 'mmpretrain', 'mmcv'}
THIRD_PARTY = {
    'structures': {'torch'},
    'settings': set(),
    'stack_check': set(),
    'quiet_import': set(),
    'json_file': set(),
    'text_file': set(),
    'own_images': set(),
    'resumable_parts': {'torch'},
    'safe_loading': {'torch', 'numpy', 'mmengine'},
    'checkpoint_file': {'torch', 'mmengine'},
    'class_names': set(),
    'feature_cache': {'numpy'},
    'feature_checksums': {'numpy'},
    'functional': {'torch'},
    'models': {'torch', 'safetensors', 'mmengine', 'mmpretrain'},
    'datasets': STACK | {'torch', 'numpy', 'PIL', 'sklearn', 'scipy', 'timm', 'cv2'},
    'evaluation': STACK | {'torch', 'numpy', 'sklearn'},
    'engine': STACK | {'torch', 'numpy'},
    'visualization': STACK | {'torch', 'numpy', 'matplotlib'},
}
FILES = [
    file
    for file in sorted(PACKAGE.rglob('*.py'))
    if file.name not in ('version.py',) and file != PACKAGE / '__init__.py'
]


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imports(file: Path) -> tuple[set[str], set[str]]:
    """Rooms of our own, and outside packages, that a file imports."""
    own, outside = set(), set()
    depth = len(file.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.level == depth:
                names = [node.module] if node.module else [alias.name for alias in node.names]
                own |= {name.split('.')[0] for name in names}
            else:
                own.add(room_of(file))
        elif isinstance(node, ast.ImportFrom):
            outside.add(node.module.split('.')[0])
        elif isinstance(node, ast.Import):
            outside |= {alias.name.split('.')[0] for alias in node.names}
    return own, outside


@pytest.mark.parametrize('file', FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports(file: Path):
    import sys

    room = room_of(file)
    own, outside = imports(file)
    assert own - {room} <= OWN[room], 'a room imports one that it must not know'
    allowed = set(sys.stdlib_module_names) | THIRD_PARTY[room]
    if file.name == 'clip_towers.py':
        allowed.add('open_clip')
    assert outside <= allowed


def test_files_and_functions_are_short():
    for file in FILES:
        assert len(file.read_text().splitlines()) <= 300, file
