"""Tables as Markdown and CSV, and texts that are written in one step."""

import csv
from collections.abc import Sequence
from pathlib import Path

from mmhier.atomic import new_file


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Format a table: words to the left, numbers to the right."""
    widths = column_widths([header, *rows])
    return '\n'.join([markdown_head(header, widths), *(markdown_row(row, widths) for row in rows)])


def column_widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Number of characters of the longest cell in each column."""
    return [max(map(len, column)) for column in zip(*rows, strict=True)]


def markdown_head(header: Sequence[str], widths: Sequence[int]) -> str:
    """The two lines above the rows of a table."""
    rule = ['-' * widths[0], *('-' * (width - 1) + ':' for width in widths[1:])]
    return f'{markdown_row(header, widths)}\n| {" | ".join(rule)} |'


def markdown_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    """One line of a table."""
    texts = [cells[0].ljust(widths[0])]
    texts += [text.rjust(width) for text, width in zip(cells[1:], widths[1:], strict=True)]
    return f'| {" | ".join(texts)} |'


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
