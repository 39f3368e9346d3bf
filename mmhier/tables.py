"""Tables as Markdown and CSV, and texts that are written in one step."""

import csv
from collections.abc import Sequence
from pathlib import Path

from mmhier.atomic import new_file


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table: words to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    left = [column == 0 for column in range(len(header))]
    rule = [
        ('-' * width if to_left else '-' * (width - 1) + ':')
        for width, to_left in zip(widths, left, strict=True)
    ]
    cells = [
        [
            text.ljust(width) if to_left else text.rjust(width)
            for text, width, to_left in zip(line, widths, left, strict=True)
        ]
        for line in lines
    ]
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in (cells[0], rule, *cells[1:]))


def replace_between(text: str, marks: tuple[str, str], content: str, source: str) -> str:
    """Return a text with what stands between two marks replaced.

    Raises:
        ValueError: If the text lacks a mark.
    """
    before, begin, rest = text.partition(marks[0])
    _, end, after = rest.partition(marks[1])
    if not begin or not end:
        raise ValueError(f'{source} has no place for the table: write {marks[0]} and {marks[1]}, a line each')
    return f'{before}{begin}\n{content}\n{end}{after}'


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a table in one step."""
    with new_file(path) as part, part.open('w', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([header, *[[cell.strip('`') for cell in line] for line in rows]])


def write_text(path: Path, text: str) -> None:
    """Write a text in one step."""
    with new_file(path) as part:
        part.write_text(text, encoding='utf-8')
