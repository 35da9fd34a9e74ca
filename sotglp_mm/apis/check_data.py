"""Is the data complete, readable, and in the layout that the configs expect?"""

import json as json_module
from collections.abc import Iterable
from pathlib import Path

from ..datasets.known_sets import KNOWN_SETS
from ..io.files import check_writable, write_atomically
from ..io.json_file import read_json
from .data_checks import check_own_images, check_set
from .data_download import download as download_set
from .data_report import closing_line


def check_data(
    data_root: str | Path,
    *,
    sets: Iterable[str] | None = None,
    own: bool = False,
    no_decode: bool = False,
    no_duplicates: bool = False,
    expected: str | Path | None = None,
    json: str | Path | None = None,
    download: str | None = None,
) -> bool:
    """Check or download, as ``sotglp data`` does with flags of these names.

    Returns:
        bool: Whether everything is ok. Duplicates are notes: published sets have some.

    Raises:
        OSError: A file cannot be read or written, or the download failed.
        ValueError: A set is not known, or not hosted; own images or a file cannot be used.
    """
    data_root = Path(data_root).expanduser()
    names = list(sets or KNOWN_SETS)
    unknown = [name for name in [*names, *filter(None, [download])] if name not in KNOWN_SETS]
    if unknown:
        raise ValueError(f'there is no set {unknown[0]!r}; known are {", ".join(KNOWN_SETS)}')
    if download:
        print(download_set(data_root, download))
        return True
    if not own and not data_root.is_dir():
        raise FileNotFoundError(f'{data_root} is no folder; expected the folder of all data')
    if json is not None:
        check_writable(json, '--json')  # now, not after hours of decoding
    numbers = _read_expected(Path(expected) if expected else None)
    look = not no_decode, not no_duplicates
    reports = []
    for name in ['own images'] if own else names:
        if own:
            reports.append(check_own_images(data_root, *look))
        else:
            reports.append(check_set(data_root, KNOWN_SETS[name], numbers[name], *look))
        print(reports[-1], flush=True)
    print(closing_line(reports, named=bool(sets)))
    all_ok = all(report.status == 'ok' for report in reports)
    if json is not None:
        of_sets = {report.name: report.as_json() for report in reports}
        found = dict(data_root=str(data_root), ok=all_ok, sets=of_sets)
        text = json_module.dumps(found, indent=2) + '\n'
        write_atomically(json, text, 'Choose another file for --json')
    return all_ok


def _read_expected(file: Path | None) -> dict[str, dict]:
    """Numbers to compare with, for every known set."""
    expected = {
        name: dict(num_classes=known.num_classes, counts=known.counts)
        for name, known in KNOWN_SETS.items()
    }
    given = read_json(file, '--expected') if file else {}
    for name, numbers in given.items() if isinstance(given, dict) else [('', given)]:
        try:
            usable = name in expected and set(numbers) == {'num_classes', 'counts'}
            counts = [numbers['num_classes'], *numbers['counts'].values()] if usable else []
            usable = usable and all(type(count) is int for count in counts)
        except (TypeError, AttributeError):
            usable = False
        if not usable:
            raise ValueError(
                f'--expected {file}: {name!r}: {numbers!r}; expected {{NAME: {{"num_classes": C, '
                f'"counts": {{SPLIT: IMAGES}}}}}} with NAME of {", ".join(expected)}'
            )
        expected[name] = numbers
    return expected
