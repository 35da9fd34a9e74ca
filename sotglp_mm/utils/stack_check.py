"""Refuse an installation that cannot work, in a sentence that says what to do.

Compares what pip recorded with the requirements of this package, before anything heavy is
imported. What came without pip (a checkout on PYTHONPATH) is not recorded, and is left alone.
"""

import logging
import pkgutil
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.version import Version

SAME_FILES = {
    'mmengine': ('mmengine', 'onedl-mmengine'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
    'mmcv': ('mmcv', 'mmcv-lite', 'onedl-mmcv', 'mmcv-full'),
}
"""Import names, and the distributions that write them: of each, one may be installed."""


def check_stack() -> None:
    """Refuse a doubled, outdated or incomplete installation; log what is newer than was tried."""
    installed = {name: _versions(names) for name, names in SAME_FILES.items()}
    outdated, untried = _out_of_bounds()
    doubled = [_doubled(name, found) for name, found in installed.items() if len(found) > 1]
    problems = [*doubled, *outdated]
    if not installed['mmcv'] and not find_spec('mmcv'):
        problems.append(
            "MMPretrain needs mmcv, which is missing: `pip install 'sotglp_mm[standalone]'`."
        )
    mmengine = installed['mmengine'].get('mmengine')  # not the fork
    if mmengine and not find_spec('pkg_resources'):
        problems.append(
            f'mmengine {mmengine} imports pkg_resources, which setuptools 81 dropped: '
            "`pip install 'setuptools<81'`."
        )
    if mmengine and not hasattr(pkgutil, 'find_loader'):
        problems.append(
            f'mmengine {mmengine} calls pkgutil.find_loader, which Python 3.14 dropped. '
            'Use the forks: `pip uninstall -y mmengine mmpretrain mmcv mmcv-lite`, then '
            '`pip install onedl-mmengine onedl-mmpretrain onedl-mmcv`.'
        )
    if problems:
        raise ImportError('sotglp_mm cannot run in this environment: ' + '\n'.join(problems))
    for line in untried:
        logging.getLogger(__name__).warning(line)


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of those of the distributions that are installed."""
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    # an interrupted removal leaves a distribution without a version
    return {name: number for name, number in versions.items() if number}


def _requirements() -> list[Requirement]:
    """Of this package, extras left out. Forks count on every Python: who has one may keep it."""
    try:
        lines = requires('sotglp_mm') or []
    except PackageNotFoundError:
        return []
    forks = {name for names in SAME_FILES.values() for name in names}
    parsed = [Requirement(line) for line in lines]
    return [
        each
        for each in parsed
        if 'extra ==' not in str(each.marker)
        and (not each.marker or each.name in forks or each.marker.evaluate())
    ]


def _out_of_bounds() -> tuple[list[str], list[str]]:
    """What is older than required, and what is newer."""
    older, newer = [], []
    for requirement in _requirements():
        wanted = f'{requirement.name}{requirement.specifier}'
        for name, number in _versions((requirement.name,)).items():
            # builds of a vendor are 2.6.0a0+abc, and as good as 2.6.0
            release = Version(number).base_version
            broken = [bound for bound in requirement.specifier if not bound.contains(release)]
            if any(bound.operator == '>=' for bound in broken):
                older.append(
                    f'{name} {number} is too old, expected {wanted}: '
                    f"`pip install --upgrade '{wanted}'`."
                )
            elif broken:
                newer.append(
                    f'{name} {number} is newer than what sotglp_mm was tried with: {wanted}'
                )
    return older, newer


def _doubled(name: str, versions: dict[str, str]) -> str:
    keep = next(iter(versions))
    listed = ' and '.join(f'{each} {number}' for each, number in versions.items())
    return (
        f'{listed} are both installed and write the same files ({name}/), so neither is complete. '
        f'Keep one: `pip uninstall -y {" ".join(versions)}`, then `pip install {keep}`.'
    )
