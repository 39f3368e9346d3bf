"""Which of the names in a file means a given image: files move, and programs write paths in their own ways.

A name is found, in this order, (1) where it is the end of the image's path, the longest first; (2) where both
end alike, in the longest end that any name has; each first with the letters' case, then without. Last, the
same without the ending of the image's file. Slashes may be backslashes, a drive (``C:``) is not looked at,
and accents may be composed or not.
"""

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

_Parts = tuple[str, ...]


class ImageNames:
    """Finds names by the path of an image.

    Args:
        names: All names, each once.

    Raises:
        ValueError: If two names differ in the kind of slashes only.
    """

    def __init__(self, names: Iterable[str]):
        self._names: dict[_Parts, str] = {}
        self._by_end: dict[_Parts, list[_Parts]] = {}
        for name in names:
            parts = _parts(name)
            if parts in self._names:
                raise ValueError(f'{self._names[parts]!r} and {name!r} are names of the same image')
            self._names[parts] = name
            folded = _fold(parts)
            for start in range(len(parts)):
                self._by_end.setdefault(folded[start:], []).append(parts)

    def find(self, path: str) -> str | None:
        """The name of the image at a path, or None.

        Raises:
            ValueError: If several fit equally well.
        """
        asked = _parts(path)
        if not asked:
            return None
        for parts in (asked, (*asked[:-1], PurePosixPath(asked[-1]).stem)):
            folded = _fold(parts)
            ends = [parts[start:] for start in range(len(parts))]
            found = [self._by_end.get(folded[start:], []) for start in range(len(parts))]
            for whole, exact in ((True, True), (True, False), (False, True), (False, False)):
                for end, names in zip(ends, found):
                    fitting = [
                        name
                        for name in names
                        if (not whole or len(name) == len(end)) and (not exact or name[-len(end) :] == end)
                    ]
                    if len(fitting) == 1:
                        return self._names[fitting[0]]
                    if fitting:
                        some = ', '.join(self._names[name] for name in fitting[:3])
                        raise ValueError(f'{path} may be any of {len(fitting)} names: {some}')
        return None


def folders_differ(name: str, path: str) -> bool:
    """Whether a name and a path that end alike go on differently: perhaps they are different images."""
    pairs = list(zip(reversed(_fold(_parts(name))), reversed(_fold(_parts(path)))))
    return any(one != other for one, other in pairs[1:])


def _parts(text: str) -> _Parts:
    text = unicodedata.normalize('NFC', re.sub('^[A-Za-z]:', '', text.replace('\\', '/')))
    return tuple(part for part in text.split('/') if part not in ('', '.'))


def _fold(parts: _Parts) -> _Parts:
    return tuple(part.casefold() for part in parts)
