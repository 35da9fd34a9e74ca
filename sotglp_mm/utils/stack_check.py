"""Refuse an installation that cannot work, in a sentence that says what to do.

Compares what pip recorded with the requirements of this package, before anything heavy is
imported. What came without pip (a checkout on PYTHONPATH) is not recorded, and is left alone.
"""

import logging
import pkgutil
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
    """Refuse a doubled, outdated or incomplete installation; log what is newer than was tried.

    Raises:
        ImportError: Says what was found, and what to install instead.
    """
    installed = {name: _versions(names) for name, names in SAME_FILES.items()}
    outdated, untried = _out_of_bounds()
    checks = [
        *(_doubled(name, versions) for name, versions in installed.items()),
        *outdated,
        _without_mmcv(installed['mmcv']),
        _without_pkg_resources(installed['mmengine']),
        _without_find_loader(installed['mmengine']),
    ]
    problems = [problem for problem in checks if problem]
    if problems:
        raise ImportError('sotglp_mm cannot run in this environment: ' + '\n'.join(problems))
    for line in untried:
        logging.getLogger(__name__).warning(line)


def _versions(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of those of the distributions that are installed."""
    versions = {}
    for name in names:
        try:
            number = version(name)
        except PackageNotFoundError:
            continue
        if number:  # an interrupted removal leaves a distribution without a version
            versions[name] = number
    return versions


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


def _doubled(name: str, versions: dict[str, str]) -> str | None:
    if len(versions) < 2:
        return None
    keep = next(iter(versions))
    listed = ' and '.join(f'{each} {number}' for each, number in versions.items())
    return (
        f'{listed} are both installed and write the same files ({name}/), so neither is complete. '
        f'Keep one: `pip uninstall -y {" ".join(versions)}`, then `pip install {keep}`.'
    )


def _without_mmcv(versions: dict[str, str]) -> str | None:
    if versions or find_spec('mmcv'):
        return None
    return "MMPretrain needs mmcv, which is missing: `pip install 'sotglp_mm[standalone]'`."


def _without_pkg_resources(versions: dict[str, str]) -> str | None:
    if 'mmengine' not in versions or find_spec('pkg_resources'):
        return None
    return (
        f'mmengine {versions["mmengine"]} imports pkg_resources, which setuptools 81 dropped: '
        "`pip install 'setuptools<81'`."
    )


def _without_find_loader(versions: dict[str, str]) -> str | None:
    if 'mmengine' not in versions or hasattr(pkgutil, 'find_loader'):
        return None
    return (
        f'mmengine {versions["mmengine"]} calls pkgutil.find_loader, which Python 3.14 dropped. '
        'Use the forks: `pip uninstall -y mmengine mmpretrain mmcv mmcv-lite`, then '
        '`pip install onedl-mmengine onedl-mmpretrain onedl-mmcv`.'
    )
