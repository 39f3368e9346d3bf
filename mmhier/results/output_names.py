"""What the files of an input are called, and that none of them takes the place of what a run reads.

Files begin with the stem of their input, with a number where two inputs share it, and the number of the page
where a file has several: ``a_overlay.jpg``, ``a_2_overlay.jpg``, ``a_page_2_overlay.jpg``. Names that
differ in the case of letters only are taken for the same, as some file systems do.
"""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mmhier.results.files import FORMATS


class OutputNames:
    """Gives every input of a run a name of its own."""

    def __init__(self):
        self._used: Counter[str] = Counter()

    def new(self, stem: str) -> str:
        """The stem, with a number if it was used before."""
        name, key = stem, stem.casefold()
        while self._used[name.casefold()]:
            self._used[key] += 1
            name = f'{stem}_{self._used[key]}'
        self._used[name.casefold()] += 1
        return name


def source_stem(source: str) -> str:
    """Stem of the files of a picture, a video or a camera.

    What is not UTF-8 in it becomes a question mark in a rhombus, and a space in the name of a camera ``_``.
    """
    stem = source.replace(' ', '_') if re.fullmatch(r'camera \d+', source) else Path(source).stem
    return stem.encode('utf-8', 'surrogateescape').decode('utf-8', 'replace')


def check_outputs(
    folder: str | Path, kinds: Iterable[str], sources: Iterable[str], inputs: Iterable[Path]
) -> None:
    """Refuse a run that might write over something that it reads.

    Args:
        folder: Where the files go.
        kinds: Which, see :mod:`mmhier.results.writer`; only of pictures, videos and documents anybody reads.
        sources: Names of the pictures, videos and cameras.
        inputs: All files that are read; of a link the link as well as what it leads to.

    Raises:
        ValueError: If a file of the run may have the name of an input.
    """
    kinds, place = set(kinds), Path(folder).resolve()
    documents = {f'results.{kind}' for kind in kinds & {*FORMATS}}
    pictures = re.compile(rf'(.+)_(?:{"|".join(map(re.escape, kinds))})\.(?:jpg|mp4)')
    stems = {source_stem(source).casefold() for source in sources}
    for path in inputs:
        for entry in (path, path.resolve()) if path.is_symlink() else (path,):
            name = entry.name.casefold()
            picture = pictures.fullmatch(name)
            taken = name in documents or (picture is not None and not stems.isdisjoint(_stems(picture[1])))
            if taken and entry.parent.resolve() == place and path.exists():
                raise ValueError(
                    f'results of this run may replace {path}, which it reads: name another --out or other '
                    'inputs'
                )


def _stems(name: str) -> set[str]:
    """Stems of inputs that may have files of a name."""
    without_number = re.sub(r'_\d+$', '', name)
    return {name, without_number, *(re.sub(r'_page_\d+$', '', one) for one in (name, without_number))}
