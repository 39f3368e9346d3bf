"""What was probably meant by a name or a path that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches
from os import PathLike
from pathlib import Path


def did_you_mean(name: str, known: Iterable[str], before: str = '') -> str:
    """The end of a sentence that names what is most alike, ``'; did you mean a or b?'``, or nothing.

    Args:
        name: What was given.
        known: What there is.
        before: What stands before each of them when it is typed, such as ``'mmpose::'``.
    """
    near = [before + one for one in get_close_matches(name, list(known), n=3)]
    return f'; did you mean {" or ".join(near)}?' if near else ''


def similar_path(path: str | PathLike) -> str:
    """The same for a file that is not there: the path with each wrong part replaced by the most similar."""
    path = Path(path)
    found = Path(path.anchor)
    try:
        for part in path.parts[len(found.parts) :]:
            if not (found / part).exists():
                names = {one.name.lower(): one.name for one in found.iterdir()}
                near = get_close_matches(part.lower(), names, n=1, cutoff=0.75)
                if not near:
                    return ''
                part = names[near[0]]
            found /= part
    except OSError:  # a folder that may not be read, a name that is too long
        return ''
    return '' if found == path else f'; did you mean {found}?'
