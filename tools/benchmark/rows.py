"""How the scripts of this folder keep their figures: rows of a CSV file that other runs may have begun."""

import csv
from collections.abc import Sequence
from pathlib import Path


def add_rows(path: Path, fields: Sequence[str], rows: Sequence[Sequence]) -> None:
    """Append rows to a CSV file; begin it with the fields if it is new.

    Raises:
        ValueError: If the file has other fields.
    """
    text = path.read_text(encoding='utf-8') if path.exists() else ''
    if text and text.splitlines()[0] != ','.join(fields):
        raise ValueError(f'{path} begins with {text.splitlines()[0]}, not with {",".join(fields)}: delete it')
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('a', newline='', encoding='utf-8') as file:
        csv.writer(file).writerows([*([] if text else [fields]), *rows])
