"""The wheel as pip makes it for a user: from the sdist, outside the checkout, offline."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

from mini_runs import REPO

# what this machine or git keeps beside the project
BESIDE = shutil.ignore_patterns(
    *('.git', '.venv*', 'build', 'dist', 'work_dirs', '*.egg-info', '.mim'),
    *('__pycache__', '.pytest_cache', '.ruff_cache', '.mypy_cache', '.hypothesis', '_build'),
)


def left_out(folder: str, names: list[str]) -> set[str]:
    """Names that are not copied; of the folders called data, only the checkout's own."""
    return BESIDE(folder, names) | ({'data'} if Path(folder) == REPO else set())


BUILD_SDIST = 'import sys, setuptools.build_meta as b; print(b.build_sdist(sys.argv[1]))'


def unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter='data')
    return folder / sdist.name.removesuffix('.tar.gz')


def build_wheel(source: Path, folder: Path) -> Path:
    pip = [sys.executable, '-m', 'pip', 'wheel', '--no-index', '--no-deps']
    run([*pip, '--no-build-isolation', '--wheel-dir', str(folder), '.'], cwd=source)
    return next(folder.glob('*.whl'))


def build_all(folder: Path) -> None:
    """Build in a copy: a build leaves folders behind. ``installed`` is what pip makes of it."""
    shutil.copytree(REPO, folder / 'checkout', ignore=left_out)
    run([sys.executable, '-c', BUILD_SDIST, str(folder)], cwd=folder / 'checkout')
    wheel = build_wheel(unpack(next(folder.glob('*.tar.gz')), folder), folder)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / 'installed')


def run(command: list[str], cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
