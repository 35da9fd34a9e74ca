"""Refuse an installation that cannot work, in a sentence that says what to do.

Looks at what pip wrote down, before anything heavy is imported. What was brought without pip
(a checkout on PYTHONPATH) is not written down, and is left alone.
"""

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

OLDEST = {
    'torch': '2.4',
    'mmengine': '0.10.4',
    'mmpretrain': '1.2.0',
    'open_clip_torch': '3.0',
}
"""As in setup.cfg; a test compares. Forks count as what they stand in for."""

TOO_NEW = {
    'torch': '3',
    'mmengine': '0.11',
    'mmpretrain': '1.3',
    'onedl-mmengine': '0.11',
    'onedl-mmpretrain': '1.4',
    'open_clip_torch': '4',
    'mmcv': '2.4',
    'mmcv-lite': '2.4',
    'onedl-mmcv': '2.4',
}
"""The first version that is not supported, as in setup.cfg; forks count on their own. MMCV's is
MMPretrain's own bound."""

OLDEST_MMCV = '2.0.0'
"""MMPretrain's own bound."""

SAME_FILES = {
    'mmengine': ('mmengine', 'onedl-mmengine'),
    'mmpretrain': ('mmpretrain', 'onedl-mmpretrain'),
    'mmcv': ('mmcv', 'mmcv-lite', 'onedl-mmcv', 'mmcv-full'),
}
"""Import names, and the distributions that write them: of each, one may be installed."""


def check_stack() -> None:
    """Refuse a doubled, outdated or incomplete installation.

    Raises:
        ImportError: Says what was found, and what to install instead.
    """
    found = {name: _installed(SAME_FILES.get(name, (name,))) for name in (*OLDEST, 'mmcv')}
    checks = [
        *(_doubled(name, versions) for name, versions in found.items()),
        *(_outdated(found[name], OLDEST[name]) for name in OLDEST),
        _outdated(found['mmcv'], OLDEST_MMCV),
        *(_untried(versions) for versions in found.values()),
        _without_mmcv(found['mmcv']),
        _without_pkg_resources(found['mmengine']),
    ]
    problems = [problem for problem in checks if problem]
    if problems:
        raise ImportError('sotglp_mm cannot run in this environment: ' + '\n'.join(problems))


def _installed(names: tuple[str, ...]) -> dict[str, str]:
    """Versions of those of the distributions that are installed."""
    versions = {}
    for name in names:
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        if found:  # an interrupted removal leaves a distribution without a version
            versions[name] = found
    return versions


def _doubled(name: str, versions: dict[str, str]) -> str | None:
    if len(versions) < 2:
        return None
    keep = next(iter(versions))
    listed = ' and '.join(f'{each} {number}' for each, number in versions.items())
    return (
        f'{listed} are both installed and write the same files ({name}/), so neither is whole. '
        f'Keep one: `pip uninstall -y {" ".join(versions)}`, then `pip install {keep}`.'
    )


def _outdated(versions: dict[str, str], oldest: str) -> str | None:
    for distribution, number in versions.items():
        if _numbers(number) < _numbers(oldest):
            below = f',<{TOO_NEW[distribution]}' if distribution in TOO_NEW else ''
            return (
                f'{distribution} {number} is too old, expected {oldest} or newer: '
                f"`pip install --upgrade '{distribution}>={oldest}{below}'`."
            )
    return None


def _untried(versions: dict[str, str]) -> str | None:
    for distribution, number in versions.items():
        limit = TOO_NEW.get(distribution)
        if limit and _numbers(number) >= _numbers(limit):
            return (
                f'{distribution} {number} is newer than what sotglp_mm was tried with, expected '
                f"one before {limit}: `pip install '{distribution}<{limit}'`, or a newer plugin."
            )
    return None


def _without_mmcv(versions: dict[str, str]) -> str | None:
    if versions or find_spec('mmcv'):
        return None
    return 'MMPretrain needs mmcv, and there is none: `pip install mmcv-lite` (or mmcv).'


def _without_pkg_resources(versions: dict[str, str]) -> str | None:
    if 'mmengine' not in versions or find_spec('pkg_resources'):
        return None
    return (
        f'mmengine {versions["mmengine"]} imports pkg_resources, which setuptools 81 dropped: '
        "`pip install 'setuptools<81'`."
    )


def _numbers(text: str) -> tuple[int, ...]:
    """'2.14.1+cpu' and '2.14.1a0' are (2, 14, 1); three numbers, so that 3 is 3.0."""
    release = re.match(r'\d+(\.\d+)*', text)
    numbers = [int(part) for part in release.group().split('.')] if release else []
    return tuple([*numbers, 0, 0, 0][:3])
