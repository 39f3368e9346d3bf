"""Person boxes from a JSON file: mmhier's own simple format, COCO annotations, or COCO results.

The simple format is a mapping, of the kinds below or mixed::

    {"street.jpg": [[x1, y1, x2, y2], [x1, y1, x2, y2, score]],
     "empty.jpg": [],
     "clip.mp4": {"0": [[x1, y1, x2, y2]], "5": [[x1, y1, x2, y2]]}}

    {"0": [[x1, y1, x2, y2]], "1": [[x1, y1, x2, y2]]}

Names are paths, the ends of paths (``street/1.jpg``) or file names, with or without suffix; the longest that
fits counts, see :mod:`mmhier.detection.image_names`. Numbers are frames of a video, counted from 0, or of
images that are named by numbers, such as 000012.jpg. A number that is not mentioned shows nobody; a name that
is not mentioned is a :class:`NotMentionedError`, because a misspelt name would look the same.

COCO's boxes are x, y, width, height; its results name an image by its id, a number in the sense above. Which
category is people:

| the file has                                     | people are |
|--------------------------------------------------|------------|
| categories with names, one called person or alike | that one |
| one category only, however it is called or numbered | that one, which is said |
| several numbers without names, 1 among them, 0 not | 1, as in COCO |
| anything else                                    | not known: an error |

What is in the file and not used (other categories, crowds, low scores) is counted in ``left_out``. Refused
are boxes that cannot be meant as they stand: corners where COCO has sizes, fractions of the image, an image
of another size than the file says.
"""

import logging
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np

from mmhier.detection.detector import Detections, NotMentionedError, count_low_scores, select
from mmhier.detection.image_names import ImageNames, folders_differ
from mmhier.file_endings import is_video
from mmhier.safe_files import read_json
from mmhier.suggestions import similar_path

logger = logging.getLogger('mmhier')

COCO_PERSON = '1'
PERSON_NAMES = frozenset('person persons people human humans pedestrian pedestrians'.split())

# How far over the image's border, in sides of it, a box has to reach to be none of x, y, width, height.
_OVER = 0.05
# A score above it is none of a detector that counts from 0 to 1.
_HIGHEST = 1.01

Boxes = list[list[float]]


@dataclass
class _Entry:
    """What a file says about one image, or one frame."""

    rows: Boxes = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    size_wh: tuple[int, int] | None = None


class BoxFile:
    """Boxes that somebody else has found.

    Args:
        path: The file.
        score_threshold: Boxes with a lower score are dropped; without a score it counts as 1.
        annotations: With COCO results: the annotation file that knows the names of the images.

    Attributes:
        left_out (Counter[str]): What was not used of the frames asked for so far, by reason.
        used (int): Boxes handed out so far.
        count (int): Boxes in the file.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If it has none of the three formats, or a box is none.
    """

    def __init__(self, path: str | Path, score_threshold: float = 0.0, annotations: str | Path | None = None):
        self.path = str(path)
        self.score_threshold = score_threshold
        self.left_out: Counter[str] = Counter()
        self.used = 0
        # Of an image's name: by number of the frame; None is every frame.
        self._by_name: dict[str, dict[int | None, _Entry]] = {}
        self._by_number: dict[int, _Entry] = {}
        self._may_be_corners = False
        self._said = False
        content = _read(path)
        if isinstance(content, list):
            self._read_results(content, annotations)
        elif isinstance(content, dict) and {'images', 'annotations'} <= content.keys():
            self._read_annotations(content)
        elif isinstance(content, dict):
            self._read_simple(content)
        else:
            raise ValueError(
                f'{path} holds {type(content).__name__}, expected a mapping of images or frames to boxes, '
                'COCO annotations, or a list of COCO results'
            )
        try:
            self._names = ImageNames(self._by_name)
        except ValueError as error:
            raise ValueError(f'{self.path}: {error}') from None
        self.count = self._check_rows()

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """See :class:`Detector`; of the image itself only the size is looked at.

        Raises:
            NotMentionedError: If the file does not mention the image.
            ValueError: If it is of one of another size.
        """
        source = str(source)
        entry = self._find(source, frame_index)
        self._check_size(entry, (image.shape[1], image.shape[0]), source)
        rows = np.array(entry.rows, dtype=np.float64).reshape(-1, 5)
        boxes, scores = select(rows[:, :4], rows[:, 4], self.score_threshold)
        self.left_out += entry.others
        count_low_scores(self.left_out, rows[:, 4], self.score_threshold)
        self.used += len(boxes)
        return boxes, scores

    def check_mentioned(self, source: str) -> None:
        """Check that the file says something of an image, a video or a camera.

        Raises:
            NotMentionedError: If it does not.
            ValueError: If several of its names fit equally well.
        """
        self._find(source, 0)

    def check_size(self, source: str, size_wh: tuple[int, int]) -> None:
        """Check that the boxes of an image or a video are of one of this width and height.

        Raises:
            NotMentionedError: If the file does not mention it.
            ValueError: If they are not.
        """
        self._check_size(self._find(source, 0), size_wh, source)

    def describe(self) -> str:
        """What the boxes are of, for messages."""
        return ', '.join([*self._by_name, *map(str, self._by_number)][:3]) or 'nothing'

    def _find(self, source: str, frame_index: int) -> _Entry:
        try:
            name = self._names.find(source)
        except ValueError as error:
            raise ValueError(f'{self.path}: {error}; give longer paths in it') from None
        if name is not None:
            if folders_differ(name, source) and not self._said:
                self._said = True
                logger.warning(
                    '%s: boxes of %s are taken for %s, as the only ones of that file name; likewise others',
                    self.path, name, source,
                )  # fmt: skip
            frames = self._by_name[name]
            return frames.get(frame_index) or frames.get(None) or _Entry()
        path, number = PurePath(source), frame_index
        if path.stem.isdecimal() and not is_video(path):
            number = int(path.stem)
        elif path.suffix and not is_video(path):
            number = None
        if number is not None and (self._by_number or not self._by_name):
            return self._by_number.get(number) or _Entry()
        raise NotMentionedError(
            f'{self.path} has no boxes for {source or "an image without a name"}, but for {self.describe()}: '
            'an image without people needs an empty list'
        )

    def _check_size(self, entry: _Entry, size_wh: tuple[int, int], source: str) -> None:
        width, height = size_wh
        if entry.size_wh not in (None, size_wh):
            turned = entry.size_wh == (height, width)
            raise ValueError(
                f'{self.path}: {source} is {entry.size_wh[0]} x {entry.size_wh[1]} pixels there, but '
                f'{width} x {height} as it is read'
                + (' (exchanged, as of photos that their EXIF data turn upright)' if turned else '')
                + ': its boxes would be off; find them again on the images as they are'
            )
        if not self._may_be_corners:
            return
        for left, top, right, bottom, _ in entry.rows:
            over = right > (1 + _OVER) * width or bottom > (1 + _OVER) * height
            if over and right - left <= width and bottom - top <= height:
                box = [left, top, right - left, bottom - top]
                raise ValueError(
                    f'{self.path}: as x, y, width, height the bbox {box} of {source} ends beyond the image '
                    f'of {width} x {height}, and all boxes of the file could be x1, y1, x2, y2: COCO has '
                    'sizes. Change them, or write the corners in the simple format'
                )

    def _check_rows(self) -> int:
        """The number of boxes, none of which may be a fraction of the image."""
        entries = [
            *self._by_number.values(),
            *(entry for frames in self._by_name.values() for entry in frames.values()),
        ]
        rows = [row for entry in entries for row in entry.rows]
        highest = max((row[4] for row in rows), default=0)
        if highest > _HIGHEST and self.score_threshold > 0:
            logger.warning(
                '%s: its scores reach %g, the least score asked for, %g, is meant for scores from 0 to 1',
                self.path, highest, self.score_threshold,
            )  # fmt: skip
        values = [value for row in rows for value in row[:4]]
        if values and max(map(abs, values)) <= 1 and not all(float(value).is_integer() for value in values):
            raise ValueError(
                f'{self.path}: the boxes, such as {rows[0][:4]}, look like fractions of the image: multiply '
                'them by its width and height, as pixels are expected'
            )
        return len(rows)

    def _read_simple(self, content: dict) -> None:
        for name, entry in content.items():
            if isinstance(entry, dict):
                self._by_name[name] = {
                    self._frame(frame, name): _Entry(self._rows(rows, f'{name}, frame {frame}'))
                    for frame, rows in entry.items()
                }
            elif name.isdecimal():
                self._by_number[int(name)] = _Entry(self._rows(entry, f'frame {name}'))
            else:
                self._by_name[name] = {None: _Entry(self._rows(entry, name))}

    def _frame(self, text: str, name: str) -> int:
        if not text.isdecimal():
            raise ValueError(f'{self.path}: {name} has the frame {text!r}, expected a number from 0')
        return int(text)

    def _rows(self, rows: object, where: str) -> Boxes:
        """Checked boxes with scores."""
        if not isinstance(rows, list):
            raise ValueError(f'{self.path}: {where} has {rows!r}, expected a list of boxes [x1, y1, x2, y2]')
        return [self._row(row, f'{where}, box {number}') for number, row in enumerate(rows)]

    def _row(self, row: object, where: str) -> list[float]:
        numbers = isinstance(row, list) and all(isinstance(value, int | float) for value in row)
        if not numbers or len(row) not in (4, 5) or not all(map(math.isfinite, row)):
            raise ValueError(f'{self.path}: {where} is {row!r}, expected x1, y1, x2, y2 and maybe a score')
        if not (row[0] < row[2] and row[1] < row[3]):
            raise ValueError(
                f'{self.path}: {where} is {row!r}, expected x1 < x2 and y1 < y2 (corners, not x, y, width, '
                'height)'
            )
        return [*row, 1.0] if len(row) == 4 else row

    def _read_annotations(self, content: dict) -> None:
        images = _images(content, self.path)
        for name, size_wh in images.values():
            self._by_name[name] = {None: _Entry(size_wh=size_wh)}
        categories = _category_names(content, self.path)
        for image_id, reason, row in self._coco_rows(content['annotations'], 'annotation', categories):
            if image_id not in images:
                raise ValueError(f'{self.path}: an annotation is of image {image_id}, which is not listed')
            _add(self._by_name[images[image_id][0]][None], reason, row)

    def _read_results(self, content: list, annotations: str | Path | None) -> None:
        images, categories = {}, {}
        if annotations:
            known = _read(annotations)
            images, categories = _images(known, str(annotations)), _category_names(known, str(annotations))
        for name, size_wh in images.values():
            self._by_name[name] = {None: _Entry(size_wh=size_wh)}
        for image_id, reason, row in self._coco_rows(content, 'result', categories):
            if image_id in images:
                entry = self._by_name[images[image_id][0]][None]
            elif image_id.isdecimal():
                entry = self._by_number.setdefault(int(image_id), _Entry())
            else:
                entry = self._by_name.setdefault(image_id, {None: _Entry()})[None]
            _add(entry, reason, row)

    def _coco_rows(
        self, entries: object, what: str, categories: dict[str, str]
    ) -> Iterable[tuple[str, str | None, list[float] | None]]:
        """Of each entry the id of its image, and why it is left out, or its checked row."""
        if not isinstance(entries, list) or not all(isinstance(one, dict) for one in entries):
            raise ValueError(f'{self.path}: expected a list of COCO {what}s, each with image_id and bbox')
        kinds = [_id(one.get('category_id', COCO_PERSON)) for one in entries]
        if what == 'result' and not categories.keys() >= {*kinds}:
            categories = {}  # of the annotations; the detector counts in its own way
        people = self._people(categories, list(dict.fromkeys(kinds)))
        self._may_be_corners = bool(entries)
        for number, (one, kind) in enumerate(zip(entries, kinds)):
            where = f'{what} {one.get("id", number)}'
            if 'image_id' not in one:
                raise ValueError(f'{self.path}: {where} needs an image_id and a bbox of x, y, width, height')
            image_id = _id(one['image_id'])
            if kind not in people:
                yield image_id, f'of the category {categories.get(kind, kind)}, no people', None
            elif one.get('iscrowd'):
                yield image_id, 'of crowds', None
            elif what == 'annotation' and not one.get('bbox'):
                yield image_id, 'without a bbox', None
            else:
                yield image_id, None, self._coco_row(one, where)

    def _coco_row(self, one: dict, where: str) -> list[float]:
        box = one.get('bbox')
        if not isinstance(box, list) or len(box) != 4:
            raise ValueError(f'{self.path}: {where} needs an image_id and a bbox of x, y, width, height')
        row = [*box, one.get('score', 1.0)]
        if not all(isinstance(value, int | float) and math.isfinite(value) for value in row):
            raise ValueError(f'{self.path}: {where} has {row!r}, expected finite numbers')
        if box[2] <= 0 or box[3] <= 0:
            raise ValueError(
                f'{self.path}: {where} has the bbox {box!r}, whose width or height is not positive'
            )
        self._may_be_corners &= box[0] < box[2] and box[1] < box[3]
        return [box[0], box[1], box[0] + box[2], box[1] + box[3], row[4]]

    def _people(self, categories: dict[str, str], used: list[str]) -> set[str]:
        """The categories that are people, see the top of this file."""
        names = categories or {key: key for key in used}  # some write the name in the place of the number
        called = {key for key, name in names.items() if name.strip().casefold() in PERSON_NAMES}
        unlisted = [key for key in used if key not in categories]
        if categories and unlisted and not (len(categories) == len(used) == 1):
            raise ValueError(
                f'{self.path}: the category_id {unlisted[0]} is not among its categories, '
                f'{", ".join(f"{key} ({name})" for key, name in list(categories.items())[:5])}'
            )
        if called and (not unlisted or not categories):
            return called
        numbered = not categories and COCO_PERSON in used and '0' not in used
        if numbered or not used:
            return {COCO_PERSON}
        if len(categories or used) == 1:
            logger.warning(
                '%s: its only category, %s, is taken for people',
                self.path, ' '.join(dict.fromkeys([*used, *categories.values()])),
            )  # fmt: skip
            return {*used}
        some = [f'{key} ({categories[key]})' if key in categories else key for key in categories or used]
        raise ValueError(
            f'{self.path}: which of its categories are people? It has {", ".join(some[:5])}, and none is '
            f"called person. Call theirs 'person', or keep theirs only"
        )


def _add(entry: _Entry, reason: str | None, row: list[float] | None) -> None:
    if row is None:
        entry.others[f'boxes {reason}'] += 1
    else:
        entry.rows.append(row)


def _id(value: object) -> str:
    """Ids are numbers, or the same numbers as text."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    return str(int(text)) if text.isdecimal() else text


def _images(content: object, path: str) -> dict[str, tuple[str, tuple[int, int] | None]]:
    """File names and, where the file says so, sizes (width, height), by id."""
    images = {}
    try:
        for one in content['images']:
            key, name = _id(one['id']), one['file_name'].strip()
            if images.get(key, (name,))[0] != name:
                raise ValueError(f'{path}: the image id {key} is of {images[key][0]} and of {name}')
            width, height = one.get('width'), one.get('height')
            images[key] = name, (width, height) if width and height else None
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: expected COCO annotations, whose images have id and file_name') from error
    return images


def _category_names(content: dict, path: str) -> dict[str, str]:
    """Names of categories by id."""
    try:
        return {_id(one['id']): str(one.get('name', '')) for one in content.get('categories') or ()}
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: its categories need an id and a name each') from error


def _read(path: str | Path) -> object:
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: there is no such file of boxes{similar_path(path)}')
    return read_json(path)
