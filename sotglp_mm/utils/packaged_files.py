"""Where the configs and commands are that come with the package."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def _carried(name: str) -> Path:
    """In a wheel's ``.mim`` folder, or beside the package of a checkout."""
    beside = PACKAGE.parent / name
    return (
        beside
        if (beside / '_base_').is_dir() or (beside / 'train.py').is_file()
        else (PACKAGE / '.mim' / name)
    )


CONFIGS = _carried('configs')
TOOLS = _carried('tools')
