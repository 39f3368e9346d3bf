"""Where a command writes to, looked at before anything is computed."""

import os
from pathlib import Path


def check_out_folder(path: Path, option: str) -> None:
    """Check that a folder can be made.

    Raises:
        NotADirectoryError: If there is a file in its place, or in that of a folder above it.
        PermissionError: If this user may not write there.
    """
    for place in (path, *path.parents):
        if place.is_dir():
            if not os.access(place, os.W_OK | os.X_OK):
                raise PermissionError(
                    f'{option} {path}: this user may not write to {place.absolute()}; name another folder '
                    f'with {option}'
                )
            return
        if place.exists():
            what = 'is a file' if place == path else f'lies below the file {place}'
            raise NotADirectoryError(f'{option} {path} {what}; name a folder')


def check_out_file(path: Path, option: str) -> None:
    """Check that a file can be made.

    Raises:
        IsADirectoryError: If there is a folder in its place.
        NotADirectoryError: If there is a file in that of a folder above it.
    """
    if path.is_dir():
        raise IsADirectoryError(f'{option} {path} is a folder; name a file in it')
    check_out_folder(path.parent, option)
