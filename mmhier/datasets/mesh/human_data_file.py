"""Reads HumanData, the npz files of MMHuman3D that SMPLer-X is trained on, executing nothing.

Fields of a file, N people; the pixels' boxes are left, top, width, height (, confidence):

| field                          | what is read of it |
|--------------------------------|--------------------|
| image_path                     | (N,) text: path relative to the folder of images |
| bbox_xywh                      | (N, 4 or 5) the person's box |
| lhand_, rhand_, face_bbox_xywh | (N, 5) boxes of parts; a confidence of 0: not annotated. May be missing |
| keypoints2d*, keypoints3d*     | (N, 144 or 190, 2 to 4), the first 144 are SMPL-X's; 3-D may be missing |
| {keypoints*}_mask              | (144 or 190,) which points are annotated at all |
| smplx, smpl or smplh           | pickled dictionary of parameters; the first of them counts |
| meta                           | the same of height, width, gender; ours has focal_length, principal_point |
| __keypoints_compressed__       | whether points that are masked out are left out |

Keys are looked for in the order of :data:`KEYS_2D` and :data:`KEYS_3D`, the first one counts. Points that are
masked out have confidence 0; others have theirs, or 1 where the file has none. The mask of the 3-D points is
that of the 2-D points, too, as in the official code.

Bodies of SMPL and SMPL-H lose their shape, which means another one in SMPL-X, and SMPL's the hands, the last
two of its 23 rotations.

A file is not taken into memory as a whole: points, by far the largest part, are read some people at a time.
The parameters are, since a pickle is read at once (1.5 KB a person).

Differences from the official reader: the eyeballs are not exchanged; points without confidence are not
annotated; a person is not used if any number of use is not finite, not only one of a 3-D point.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmhier.body_models.joint_sets import JOINT_SETS
from mmhier.datasets.mesh.whole_body_annotation import GENDERS, JOINTS, PARTS, check_whole_bodies
from mmhier.safe_files import Archive, npy_header, open_zip, parse_npy
from mmhier.safe_pickle import Array, read_pickle, to_array, to_texts

KEYS_2D = ('keypoints2d', 'keypoints2d_smplx', 'keypoints2d_smpl', 'keypoints2d_original')
KEYS_3D = (
    'keypoints3d_cam', 'keypoints3d', 'keypoints3d_smplx', 'keypoints3d_smpl', 'keypoints3d_original',
)  # fmt: skip
# Key of the parameters -> rotations of its body_pose.
BODIES = {'smplx': 21, 'smpl': 23, 'smplh': 21}
NUM_BODY_ROTATIONS = 21
NUM_POINTS = (144, 190)
# Our points among those of the file, which are SMPL-X's.
POINTS = [JOINT_SETS['smplx144'].landmarks.index(landmark) for landmark in JOINTS.landmarks]
BOX_KEYS = {'left_hand': 'lhand_bbox_xywh', 'right_hand': 'rhand_bbox_xywh', 'face': 'face_bbox_xywh'}
# Our parameter -> its key in the file, and how many numbers it has; of more, the first count.
PARAMETERS = {
    'left_hand_pose': ('left_hand_pose', 45),
    'right_hand_pose': ('right_hand_pose', 45),
    'jaw_pose': ('jaw_pose', 3),
    'expression': ('expression', 10),
    'transl': ('transl', 3),
}
MAY_BE_LONGER = ('expression', 'betas')
NUM_BETAS = 10
# People at a time.
BLOCK = 4096


class People(NamedTuple):
    """Some people of a file, in its order.

    Attributes:
        records: (n,) of :data:`mmhier.datasets.mesh.whole_body_annotation.WHOLE_BODY_DTYPE`.
        problems: (n,) numbers of their problems.
        images: n paths of images.
    """

    records: np.ndarray
    problems: np.ndarray
    images: list[str]


def read_human_data(path: str | Path, block: int = BLOCK) -> Iterator[People]:
    """Read a file.

    Args:
        path: The file.
        block: People at a time.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged, a field is missing, of another length or shape, or a pickle in it
            refers to anything but arrays.
    """
    with open_zip(path) as archive:
        yield from _Reader(archive, block).people()


class _Reader:
    def __init__(self, archive: Archive, block: int):
        self.archive, self.name, self.block = archive, archive.name, block
        self.members = {name.removesuffix('.npy'): name for name in archive.names if name.endswith('.npy')}

    def people(self) -> Iterator[People]:
        """All people, block by block."""
        images = self._texts('image_path')
        self.count = len(images)
        if not self.count:
            raise ValueError(f'{self.name} holds nobody')
        whole = self._parameters() | self._meta()
        sources = {'bbox_xywh': self._rows('bbox_xywh', (4,), (5,))}
        for part, key in BOX_KEYS.items():
            if key in self.members:
                sources[part] = self._rows(key, (5,))
        key_2d, key_3d = self._first(KEYS_2D), self._first(KEYS_3D)
        if key_2d is None:
            raise ValueError(f'{self.name} has no 2-D points: none of {", ".join(KEYS_2D)}{self._there()}')
        masks = {key: self._mask(key) for key in (key_3d, key_2d) if key is not None}
        mask = next((mask for mask in masks.values() if mask is not None), None)
        if mask is None:
            raise ValueError(f'{self.name} has no mask of points, such as {key_2d}_mask{self._there()}')
        for name, key in (('keypoints_2d', key_2d), ('keypoints_3d', key_3d)):
            if key is not None:
                sources[name] = self._points(key, int(name[-2]), masks[key], mask)
        for first in range(0, self.count, self.block):
            rows = slice(first, first + self.block)
            fields = {name: value[rows] for name, value in whole.items()}
            fields |= _boxes({name: next(source) for name, source in sources.items()})
            records, problems = check_whole_bodies(len(images[rows]), fields)
            yield People(records, problems, images[rows])
        for source in sources.values():  # to their ends, where checksums are compared
            next(source, None)

    def _there(self) -> str:
        return f'; it has {", ".join(sorted(self.members)[:40])}'

    def _first(self, keys: tuple[str, ...]) -> str | None:
        return next((key for key in keys if key in self.members), None)

    def _content(self, key: str) -> bytes:
        if key not in self.members:
            raise ValueError(f'{self.name} has no "{key}"{self._there()}')
        return self.archive.read(self.members[key])

    def _texts(self, key: str) -> list[str]:
        content, source = self._content(key), f'{self.name}: {key}'
        *_, dtype, start = npy_header(content, source)
        if dtype.hasobject:
            return to_texts(read_pickle(content[start:], source), source)
        return to_texts(parse_npy(content, source).ravel().tolist(), source)

    def _dictionary(self, key: str) -> dict:
        """A dictionary, pickled as an array without axes."""
        content, source = self._content(key), f'{self.name}: {key}'
        shape, _, dtype, start = npy_header(content, source)
        recorded = read_pickle(content[start:], source) if dtype.hasobject and not shape else None
        held = recorded.state[-1] if type(recorded) is Array and recorded.state else None
        if not isinstance(held, list) or len(held) != 1 or not isinstance(held[0], dict):
            raise ValueError(f'{source} is no dictionary')
        return held[0]

    def _numbers(self, value: object, what: str) -> np.ndarray:
        """An array with a row for each person, from what a pickle recorded."""
        what = f'{self.name}: {what}'
        if isinstance(value, list | tuple) and all(isinstance(entry, int | float) for entry in value):
            array = np.array(value, float)
        elif isinstance(value, list | tuple):
            array = np.stack([to_array(entry, what) for entry in value]) if value else np.empty(0)
        else:
            array = to_array(value, what)
        if not array.ndim or len(array) != self.count:
            raise ValueError(f'{what} has shape {array.shape}, there are {self.count} people')
        return array.reshape(self.count, -1)

    def _parameters(self) -> dict[str, np.ndarray]:
        """Parameters of all people and flags, under our names."""
        kind = self._first(tuple(BODIES))
        if kind is None:
            raise ValueError(f'{self.name} has no bodies: none of {", ".join(BODIES)}{self._there()}')
        values = self._dictionary(kind)
        fields = {'global_orient': self._parameter(values, kind, 'global_orient', 3)}
        pose = self._parameter(values, kind, 'body_pose', 3 * BODIES[kind])
        fields['body_pose'] = pose[:, : 3 * NUM_BODY_ROTATIONS]
        for name, (key, size) in PARAMETERS.items():
            if values.get(key) is not None:
                fields[name] = self._parameter(values, kind, key, size)
        if kind == 'smplx':
            key = 'betas_neutral' if values.get('betas_neutral') is not None else 'betas'
            fields['betas'] = self._parameter(values, kind, key, NUM_BETAS)
        if values.get('gender') is not None:
            fields['gender'] = self._genders(values['gender'], f'{kind}.gender')
        return fields

    def _parameter(self, values: dict, kind: str, key: str, size: int) -> np.ndarray:
        if values.get(key) is None:
            raise ValueError(
                f'{self.name}: {kind} has no "{key}"; it has {", ".join(map(str, list(values)[:40]))}'
            )
        array = self._numbers(values[key], f'{kind}.{key}')
        is_longer = array.shape[1] > size and key.startswith(MAY_BE_LONGER)
        if array.shape[1] != size and not is_longer:
            raise ValueError(
                f'{self.name}: {kind}.{key} has {array.shape[1]} numbers a person, expected {size}'
            )
        return array[:, :size]

    def _meta(self) -> dict[str, np.ndarray]:
        """Size of images and gender, as far as the file says."""
        if 'meta' not in self.members:
            return {}
        meta, fields = self._dictionary('meta'), {}
        if meta.get('height') is not None:
            sides = [self._numbers(meta.get(key), f'meta.{key}') for key in ('height', 'width')]
            if any(side.shape[1] != 1 for side in sides):
                raise ValueError(f'{self.name}: meta.height and meta.width are no number for each person')
            fields['image_hw'] = np.concatenate(sides, 1)
        if meta.get('focal_length') is not None and meta.get('principal_point') is not None:
            pairs = [self._numbers(meta[key], f'meta.{key}') for key in ('focal_length', 'principal_point')]
            if any(pair.shape[1] != 2 for pair in pairs):
                raise ValueError(
                    f'{self.name}: meta.focal_length and principal_point are not two numbers a person'
                )
            fields['camera'] = np.concatenate(pairs, 1)
        if meta.get('gender') is not None:
            fields['gender'] = self._genders(meta['gender'], 'meta.gender')
        return fields

    def _genders(self, value: object, key: str) -> np.ndarray:
        texts = to_texts(value, f'{self.name}: {key}')
        texts = texts * self.count if len(texts) == 1 else texts
        if len(texts) != self.count:
            raise ValueError(f'{self.name}: {key} has {len(texts)} entries, there are {self.count} people')
        initials = {name[0]: number for number, name in enumerate(GENDERS)}
        return np.array([initials.get(text[:1].lower(), 0) for text in texts])

    def _rows(self, key: str, *shapes: tuple[int, ...]) -> Iterator[np.ndarray]:
        """Rows of a field in blocks of people; a field of another shape is refused at once."""
        if key not in self.members:
            raise ValueError(f'{self.name} has no "{key}"{self._there()}')
        shape, dtype = self.archive.shape(self.members[key])
        if shape[:1] != (self.count,) or (shapes and shape[1:] not in shapes) or dtype.kind not in 'fiu':
            wanted = ' or '.join(str((self.count, *shape)) for shape in shapes) or f'({self.count}, ...)'
            raise ValueError(f'{self.name}: "{key}" has shape {shape} of {dtype}, expected {wanted}')
        return self.archive.rows(self.members[key], self.block)

    def _mask(self, key: str) -> np.ndarray | None:
        """Which points of a field are annotated, (144 or 190,) bool."""
        for name in (f'{key}_mask', f'{key[:11]}_mask'):
            if name in self.members:
                mask = parse_npy(self._content(name), f'{self.name}: {name}').ravel()
                if len(mask) not in NUM_POINTS or mask.dtype.kind not in 'fiub':
                    raise ValueError(
                        f'{self.name}: {name} has {len(mask)} entries, expected one for each of '
                        f'{" or ".join(map(str, NUM_POINTS))} points'
                    )
                return mask == 1
        return None

    def _points(
        self, key: str, axes: int, own_mask: np.ndarray | None, mask: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Our points with confidences, (n, K, axes + 1), in blocks of people."""
        compressed = '__keypoints_compressed__' in self.members and bool(
            parse_npy(self._content('__keypoints_compressed__'), self.name).any()
        )
        if compressed and own_mask is None:
            raise ValueError(f'{self.name}: points are compressed, and "{key}_mask" is missing')
        (_, *shape), _ = self.archive.shape(self.members[key])
        counts = (int(own_mask.sum()),) if compressed else NUM_POINTS
        if len(shape) != 2 or shape[0] not in counts or shape[1] not in (axes, axes + 1):
            raise ValueError(
                f'{self.name}: "{key}" has shape {(self.count, *shape)}, expected ({self.count}, '
                f'{" or ".join(map(str, counts))}, {axes} or {axes + 1})'
            )
        columns = np.full(max(NUM_POINTS), -1)
        columns[np.flatnonzero(own_mask) if compressed else np.arange(shape[0])] = np.arange(shape[0])
        columns = columns[POINTS]
        known = mask[POINTS] & (columns >= 0)
        for rows in self._rows(key):
            points = np.zeros((len(rows), len(POINTS), axes + 1), np.float32)
            points[..., axes] = 1
            points[..., : shape[1]] = rows[:, columns]
            points[..., axes] *= known
            yield points


def _boxes(sources: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Boxes under our names; other fields as they are."""
    fields = dict(sources)
    boxes = fields.pop('bbox_xywh')[:, :4].astype(np.float32)
    fields['center'], fields['scale'] = boxes[:, :2] + boxes[:, 2:] / 2, boxes[:, 2:]
    parts = np.zeros((len(boxes), len(PARTS), 5), np.float32)
    for number, part in enumerate(PARTS):
        if part in fields:
            box = fields.pop(part)
            parts[:, number] = np.concatenate([box[:, :2], box[:, :2] + box[:, 2:4], box[:, 4:]], 1)
    return fields | {'part_boxes': parts}
