"""The report on one set, and its text."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

SHOWN = 3
"""Files named in the terminal; --json has all."""


class Fault(NamedTuple):
    """Something that makes a set unfit for a run."""

    status: str  # 'absent', 'incomplete' (something is missing) or 'damaged' (there, but wrong)
    text: str  # what was found, what was expected, what to do


@dataclass
class SetReport:
    """All that is known of one set; names as in ``--json``."""

    name: str
    place: Path
    asked: Path
    num_classes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    problems: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    missing_images: list[str] = field(default_factory=list)
    undecodable_images: dict[str, str] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    leakage: list[list[str]] = field(default_factory=list)

    @property
    def status(self) -> str:
        """The worst of its faults, or 'ok'."""
        found = {fault.status for fault in self.problems}
        return next((each for each in ('absent', 'damaged', 'incomplete') if each in found), 'ok')

    def as_json(self) -> dict:
        """For ``--json``."""
        found = asdict(self) | dict(status=self.status, place=str(self.place))
        found |= dict(other_place=self.place != self.asked)
        found['problems'] = [fault._asdict() for fault in self.problems]
        return {key: value for key, value in found.items() if key not in ('name', 'asked')}

    def __str__(self) -> str:
        if self.status == 'absent':
            what = 'not found'
        else:
            parts = [plural(self.num_classes, 'class')] if self.num_classes else []
            parts += [f'{split} {count}' for split, count in self.counts.items()]
            what = f'{", ".join(parts) or "no list of images"}; {self.place}'
        lines = [f'{self.status:<12}{self.name:<16}{what}']
        lines += [f'    - {fault.text}' for fault in self.problems]
        return '\n'.join(lines + [f'    note: {note}' for note in self.notes])


def some_of(items: list[str]) -> str:
    """The first few, and how many more there are."""
    more = len(items) - SHOWN
    return ', '.join(items[:SHOWN]) + (f' and {more} more' if more > 0 else '')


def plural(number: int, noun: str) -> str:
    """'1 class', '2 classes', '3 images'."""
    ending = 'es' if noun.endswith('s') else 's'
    return f'{number} {noun}' + (ending if number != 1 else '')


def closing_line(reports: list[SetReport], named: bool) -> str:
    """What it comes to, and what to do."""
    by_status: dict[str, list[str]] = {}
    for report in reports:
        by_status.setdefault(report.status, []).append(report.name)
    text = f'{len(by_status.pop("ok", []))} of {plural(len(reports), "set")} ok'
    text += ''.join(f'; {status}: {", ".join(names)}' for status, names in by_status.items())
    hint = 'absent' in by_status and not named
    return f'{text}.{" Name the sets that you need with --sets." if hint else ""}'
