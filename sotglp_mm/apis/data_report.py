"""The report on one set, and its text."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

SHOWN = 3
"""Files named in the terminal; --json has all."""


class Fault(NamedTuple):
    """Something that makes a set unfit for a run."""

    status: str
    """'absent', 'incomplete' (something is missing) or 'damaged' (there, but wrong)."""

    text: str
    """What was found, what was expected, what to do."""


@dataclass
class SetReport:
    """All that is known of one set."""

    name: str
    place: Path
    asked: Path
    num_classes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    undecodable: dict[str, str] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    leakage: list[list[str]] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The worst of its faults, or 'ok'."""
        found = {fault.status for fault in self.faults}
        return next((each for each in ('absent', 'damaged', 'incomplete') if each in found), 'ok')

    def as_json(self) -> dict:
        """For ``--json``: as here, paths as text."""
        return dict(
            status=self.status,
            place=str(self.place),
            other_place=self.place != self.asked,
            num_classes=self.num_classes,
            counts=self.counts,
            problems=[fault._asdict() for fault in self.faults],
            notes=self.notes,
            missing_images=self.missing,
            undecodable_images=self.undecodable,
            duplicates=self.duplicates,
            leakage=self.leakage,
        )


def some_of(items: list[str]) -> str:
    """The first few, and how many more there are."""
    more = len(items) - SHOWN
    return ', '.join(items[:SHOWN]) + (f' and {more} more' if more > 0 else '')


def plural(number: int, noun: str) -> str:
    """'1 class', '2 classes', '3 images'."""
    ending = 'es' if noun.endswith('s') else 's'
    return f'{number} {noun}' + (ending if number != 1 else '')


def set_lines(report: SetReport) -> str:
    """One line with the status, the details below it."""
    if report.status == 'absent':
        what = 'not found'
    else:
        parts = [plural(report.num_classes, 'class')] if report.num_classes else []
        parts += [f'{split} {count}' for split, count in report.counts.items()]
        what = f'{", ".join(parts) or "no list of images"}; {report.place}'
    lines = [f'{report.status:<12}{report.name:<16}{what}']
    lines += [f'    - {fault.text}' for fault in report.faults]
    lines += [f'    note: {note}' for note in report.notes]
    return '\n'.join(lines)


def closing_line(reports: list[SetReport], named: bool) -> str:
    """What it comes to, and what to do."""
    by_status: dict[str, list[str]] = {}
    for report in reports:
        by_status.setdefault(report.status, []).append(report.name)
    good = len(by_status.pop('ok', []))
    text = f'{good} of {plural(len(reports), "set")} ok'
    text += ''.join(f'; {status}: {", ".join(names)}' for status, names in by_status.items())
    hint = (
        ' Name the sets that you need with --sets.' if 'absent' in by_status and not named else ''
    )
    return f'{text}.{hint}'
