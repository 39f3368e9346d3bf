"""An annotation file while it is checked: what is known of it, what was repaired, and its single values.

The numbers of all people are read as arrays of some thousand rows, or a large file would take minutes. Where
a row holds text or null, its numbers are made one by one.
"""

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

logger = logging.getLogger('mmhier')

ID_LIMIT = 2**63
_CHUNK = 8192  # people whose numbers are looked at in one array

_said: set[str] = set()


@dataclass
class CocoFile:
    """A file that has been read.

    Attributes:
        path: Of the file.
        content: Its content, repaired.
        annotated: Whether it has ``annotations``, be they none; COCO's test sets have not.
        numbers: Length of ``keypoints`` -> name of the first person that has it.
        people: How many are labelled, have a box and are no crowd.
        boxless: Names of labelled people without a box that covers a part of the picture.
        misplaced: How many people have their keypoints outside of their box, if that is the half or more.
    """

    path: str
    content: dict[str, Any]
    annotated: bool = True
    numbers: dict[int, str] = field(default_factory=dict)
    people: int = 0
    boxless: list[str] = field(default_factory=list)
    misplaced: str = ''


class Repairs:
    """What has been repaired in a file: kind -> number of entries and the first."""

    def __init__(self, path: str):
        self.path = path
        self._found: dict[str, list] = {}

    def note(self, kind: str, first: str, count: int = 1) -> None:
        """Count a repair."""
        self._found.setdefault(kind, [0, first])[0] += count

    def lines(self) -> list[str]:
        """One line for each kind."""
        return [
            f'{self.path}: {kind} ({count}, first: {first})' for kind, (count, first) in self._found.items()
        ]

    def say(self) -> None:
        """Log the lines that this process has not logged before."""
        for line in self.lines():
            if line not in _said:
                _said.add(line)
                logger.warning(line)


class Names:
    """How an annotation is called in messages."""

    def __init__(self, annotations: list[dict]):
        self._annotations = annotations

    def __getitem__(self, index: int) -> str:
        return f'annotation {self._annotations[index].get("id")!r} (entry {index + 1})'


def tables(
    file: CocoFile, names: Names, present: list[int], name: str, repairs: Repairs, length: int | None = None
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Rows of a field as arrays (n, length) of float64, with the places of their annotations."""
    annotations = file.content.get('annotations', [])
    for start in range(0, len(present), _CHUNK):
        groups: dict[int, list[int]] = {}
        for index in present[start : start + _CHUNK]:
            row = annotations[index][name]
            if not isinstance(row, list) or (length and len(row) != length):
                expected = f'a list of {length} numbers' if length else 'a list of numbers'
                raise ValueError(
                    f'{file.path}: {names[index]} has the {name} {short(row)}, expected {expected}'
                )
            groups.setdefault(len(row), []).append(index)
        for indices in groups.values():
            table = _plain_table([annotations[index][name] for index in indices])
            if table is None:
                for index in indices:
                    _repair_numbers(file, annotations[index], name, names[index], repairs)
                table = np.array([annotations[index][name] for index in indices], float)
            yield indices, table


def _plain_table(rows: list[list]) -> np.ndarray | None:
    """Rows of the same length as an array, if all they hold is numbers."""
    try:
        table = np.array(rows)
    except ValueError:  # a list within one of them
        return None
    return table.astype(float) if table.ndim == 2 and table.dtype.kind in 'iuf' else None


def _repair_numbers(file: CocoFile, annotation: dict, name: str, who: str, repairs: Repairs) -> None:
    """Make numbers of text and of null in a row; null becomes NaN."""
    row = annotation[name]
    if all(type(value) in (int, float) and abs(value) < 1e300 for value in row):
        return
    numbers = [maybe_float(value) for value in row]
    for before, after in zip(row, numbers, strict=True):
        if (
            before is not None
            and math.isnan(after)
            and not (isinstance(before, float) and math.isnan(before))
        ):
            raise ValueError(f'{file.path}: {who} has {short(before)} in {name}, expected a number')
        if isinstance(before, str):
            repairs.note(f'numbers of {name} written as text were read as numbers', f'{who}: {before!r}')
    annotation[name] = numbers


def identity(value: Any, where: str, repairs: Repairs) -> int:
    """The whole number that an id means."""
    number = maybe_int(value)
    if number is None or abs(number) >= ID_LIMIT:
        raise ValueError(
            f'{where} {short(value)}, expected a whole number; number them, wherever they are named'
        )
    repairs.note('ids were read as whole numbers', f'{value!r}')
    return number


def pixels(value: Any, where: str, repairs: Repairs) -> int:
    """The number of pixels that a width or height means."""
    number = maybe_int(value)
    if number is None or number <= 0:
        raise ValueError(
            f'{where} {short(value)}, expected a number of pixels; leave it out or give the right one'
        )
    repairs.note('widths and heights were read as whole numbers', f'{value!r}')
    return number


def maybe_int(value: Any) -> int | None:
    """The whole number that is meant by an int, a float or text; None if it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and len(value) > 20:
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if isinstance(value, str) or number == value else None


def maybe_float(value: Any) -> float:
    """The number that is meant by a number or text; NaN if it is none."""
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def short(value: Any) -> str:
    """A value in a message."""
    text = repr(value)
    return text if len(text) <= 80 else f'{text[:77]}...'
