"""Person boxes from a JSON file: mmhier's own simple format, COCO annotations, or COCO results.

The simple format is a mapping, of the kinds below or mixed::

    {"street.jpg": [[x1, y1, x2, y2], [x1, y1, x2, y2, score]],
     "empty.jpg": [],
     "clip.mp4": {"0": [[x1, y1, x2, y2]], "5": [[x1, y1, x2, y2]]}}

    {"0": [[x1, y1, x2, y2]], "1": [[x1, y1, x2, y2]]}

Names are paths, the ends of paths (``street/1.jpg``) or file names, with or without suffix; the longest that
fits counts. Numbers are frames of a video, counted from 0, or of images that are named by numbers, such as
000012.jpg. A number that is not mentioned shows nobody; a name that is not mentioned is an error, because a
misspelt name would look the same. COCO's boxes are x, y, width, height; its results name an image by its id,
a number in the sense above.
"""

import math
from collections.abc import Iterable
from pathlib import Path, PurePath

import numpy as np

from mmhier.detection.detector import Detections, select
from mmhier.safe_files import read_json

COCO_PERSON = 1

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp', '.tif', '.tiff')

Boxes = list[list[float]]


class BoxFile:
    """Boxes that somebody else has found.

    Args:
        path: The file.
        score_threshold: Boxes with a lower score are dropped; without a score it counts as 1.
        annotations: With COCO results: the annotation file that knows the names of the images.

    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If it has none of the three formats, or a box is none.
    """

    def __init__(self, path: str | Path, score_threshold: float = 0.0, annotations: str | Path | None = None):
        self.path = str(path)
        self.score_threshold = score_threshold
        self._by_name: dict[str, Boxes | dict[int, Boxes]] = {}
        self._by_number: dict[int, Boxes] = {}
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

    def __call__(self, image: np.ndarray, source: str = '', frame_index: int = 0) -> Detections:
        """See :class:`Detector`; the image itself is not looked at.

        Raises:
            ValueError: If the file does not mention the image.
        """
        rows = np.array(self._find(str(source), frame_index), dtype=np.float64).reshape(-1, 5)
        return select(rows[:, :4], rows[:, 4], self.score_threshold)

    def _find(self, source: str, frame_index: int) -> Boxes:
        path = PurePath(source)
        ends = ['/'.join(path.parts[start:]) for start in range(len(path.parts))]
        for name in (source, path.as_posix(), *ends, path.stem):
            if name in self._by_name:
                entry = self._by_name[name]
                return entry.get(frame_index, []) if isinstance(entry, dict) else entry
        number = frame_index
        if path.suffix.lower() in IMAGE_SUFFIXES:
            number = int(path.stem) if path.stem.isdigit() else None
        if number is not None and (self._by_number or not self._by_name):
            return self._by_number.get(number, [])
        some = ', '.join([*self._by_name, *map(str, self._by_number)][:3]) or 'nothing'
        raise ValueError(
            f'{self.path} has no boxes for {source or "an image without a name"}, but for {some}: an image '
            'without people needs an empty list'
        )

    def _read_simple(self, content: dict) -> None:
        for name, entry in content.items():
            if isinstance(entry, dict):
                self._by_name[name] = {
                    self._frame(frame, name): self._rows(rows, f'{name}, frame {frame}')
                    for frame, rows in entry.items()
                }
            elif name.isdigit():
                self._by_number[int(name)] = self._rows(entry, f'frame {name}')
            else:
                self._by_name[name] = self._rows(entry, name)

    def _frame(self, text: str, name: str) -> int:
        if not text.isdigit():
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
            raise ValueError(f'{self.path}: {where} is {row!r}, expected x1 < x2 and y1 < y2')
        return [*row, 1.0] if len(row) == 4 else row

    def _read_annotations(self, content: dict) -> None:
        names = _image_names(content, self.path)
        people = {one['id'] for one in content.get('categories', ()) if one.get('name') == 'person'} or {
            COCO_PERSON
        }
        self._by_name = {name: [] for name in names.values()}
        chosen = (
            one
            for one in content['annotations']
            if one.get('category_id', COCO_PERSON) in people and not one.get('iscrowd') and one.get('bbox')
        )
        for image_id, row in self._coco_rows(chosen, 'annotation'):
            if image_id not in names:
                raise ValueError(f'{self.path}: an annotation is of image {image_id!r}, which is not listed')
            self._by_name[names[image_id]].append(row)

    def _read_results(self, content: list, annotations: str | Path | None) -> None:
        names = _image_names(_read(annotations), str(annotations)) if annotations else {}
        self._by_name = {name: [] for name in names.values()}
        if not all(isinstance(one, dict) for one in content):
            raise ValueError(f'{self.path}: expected a list of COCO results, each with image_id and bbox')
        chosen = (one for one in content if one.get('category_id', COCO_PERSON) == COCO_PERSON)
        for image_id, row in self._coco_rows(chosen, 'result'):
            if image_id in names:
                self._by_name[names[image_id]].append(row)
            elif isinstance(image_id, int):
                self._by_number.setdefault(image_id, []).append(row)
            else:
                self._by_name.setdefault(str(image_id), []).append(row)

    def _coco_rows(self, entries: Iterable[dict], what: str) -> Iterable[tuple[object, list[float]]]:
        """Image ids and checked rows."""
        for number, one in enumerate(entries):
            box, score = one.get('bbox'), one.get('score', 1.0)
            where = f'{what} {one.get("id", number)}'
            if 'image_id' not in one or not isinstance(box, list) or len(box) != 4:
                raise ValueError(f'{self.path}: {where} needs an image_id and a bbox of x, y, width, height')
            row = [*box, score]
            if not all(isinstance(value, int | float) and math.isfinite(value) for value in row):
                raise ValueError(f'{self.path}: {where} has {row!r}, expected finite numbers')
            if box[2] <= 0 or box[3] <= 0:
                raise ValueError(
                    f'{self.path}: {where} has the bbox {box!r}, whose width or height is not positive'
                )
            yield one['image_id'], [box[0], box[1], box[0] + box[2], box[1] + box[3], score]


def _image_names(content: object, path: str) -> dict:
    """File names by id."""
    try:
        return {one['id']: one['file_name'] for one in content['images']}
    except (KeyError, TypeError) as error:
        raise ValueError(f'{path}: expected COCO annotations, whose images have id and file_name') from error


def _read(path: str | Path) -> object:
    if not Path(path).is_file():
        raise FileNotFoundError(f'{path}: there is no such file of boxes')
    return read_json(path)
