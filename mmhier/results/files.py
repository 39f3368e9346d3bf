"""Results on disk: a line per frame while they come in, one JSON, npz or Parquet file when all are there.

While a run goes on, ``results.jsonl`` grows: its first line is the header, each further line one frame, and
every line is handed to the operating system at once. Whatever ends the run, these lines are whole; only the
very last may be cut off, and :func:`read_results` leaves it out. At the end the lines become ``results.json``
and ``results.npz``, written beside their names and renamed, and ``results.jsonl`` goes away.

Of a run that was killed: ``finish('OUT/results.jsonl', ('json', 'npz'))``.

**results.json**: the header (``schema``, ``version``, ``conventions``, ...), ``complete`` (false if the run
was interrupted), ``skipped`` (what could not be read) and ``frames``; see :mod:`mmhier.results.frame_result`.

**results.npz**: F frames, N people on them, K keypoints, J joints of the body but the root, S shape
components, M joints of the joint set.

| array            | shape          | type    | what |
|------------------|----------------|---------|------|
| header           | ()             | str     | the header of the JSON document |
| source           | (F,)           | str     | file of each frame |
| frame_index      | (F,)           | int64   | number in the source |
| time_s           | (F,)           | float64 | NaN where there is none |
| image_hw         | (F, 2)         | int64   | height, width |
| frame            | (N,)           | int64   | row of each person's frame in the arrays above |
| bbox             | (N, 4)         | float32 | as in JSON, like all that follow |
| bbox_score       | (N,)           | float32 | |
| track_id         | (N,)           | int64   | -1: none |
| keypoints        | (N, K, 2)      | float32 | |
| keypoint_scores  | (N, K)         | float32 | |

Of mesh models also ``global_orient, body_pose, betas, camera, transl, focal_length, joints_3d``, (N, ...)
float32; of whole bodies ``left_hand_pose, right_hand_pose, jaw_pose, expression, part_boxes`` as well.

**results.parquet** (needs pyarrow): a row per frame with the fields of a frame in JSON; ``people`` is a list
of structures. The rest of the JSON document is the text ``mmhier`` in the metadata of the schema.
"""

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mmhier.atomic import new_file
from mmhier.results.frame_result import (
    BODY_FIELDS,
    WHOLE_BODY_FIELDS,
    FrameResult,
    check_schema,
    frame_from_json,
    frame_to_json,
    header_to_json,
)
from mmhier.safe_files import MAX_JSON_BYTES, open_file, parse_json, read_bytes

FORMATS = ('json', 'npz', 'parquet')

_PERSON_FIELDS = {'bbox': np.float32, 'bbox_score': np.float32, 'keypoints': np.float32}
_PERSON_FIELDS |= {'keypoint_scores': np.float32, 'track_id': np.int64}
_MESH_FIELDS = (*BODY_FIELDS, 'focal_length', *WHOLE_BODY_FIELDS)
# Depth of the lists in the fields of a person and of a mesh, for Parquet; texts are not in here.
_DEPTHS = dict(bbox=1, bbox_score=0, keypoints=2, keypoint_scores=1)
_MESH_DEPTHS = dict(global_orient=3, body_pose=3, betas=1, camera=1, transl=1, joints_3d=2, focal_length=0)
_MESH_DEPTHS |= dict(left_hand_pose=3, right_hand_pose=3, jaw_pose=3, expression=1, part_boxes=2)
_MESH_TEXTS = ('focal_source', 'body_model', 'joint_set')
_ROWS = 1024  # of Parquet that are in memory


class ResultLines:
    """The growing file of a run.

    Args:
        path: The file, ending in .jsonl.

    Attributes:
        count (int): Frames written.

    Raises:
        FileExistsError: If the file is there: of a run that was killed.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.count = 0
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = open(self.path, 'xb', buffering=0)  # noqa: SIM115 (closed by close)
        except FileExistsError:
            raise FileExistsError(
                f'{self.path} holds results of a run that was killed. Turn them into JSON and npz '
                f'(mmhier infer --finish {self.path}), remove them, or choose another folder'
            ) from None

    def begin(self, result: FrameResult) -> None:
        """Write the header, as :meth:`write` does before the first frame; of a run that may have no frame."""
        if not self._file.tell():
            self._append(header_to_json(result))

    def write(self, result: FrameResult) -> None:
        """Append a frame.

        Raises:
            OSError: If it cannot be written; what was written before stays whole.
        """
        self.begin(result)
        self._append(frame_to_json(result))
        self.count += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _append(self, content: dict[str, Any]) -> None:
        line = memoryview(_dump(content) + b'\n')
        start = self._file.tell()
        try:
            while line:
                line = line[self._file.write(line) :]
        except BaseException:
            os.ftruncate(self._file.fileno(), start)  # takes the cut line away, also on a full disk
            self._file.seek(start)
            raise


def finish(
    lines: str | Path, formats: Iterable[str], complete: bool = True, skipped: Iterable[dict] = ()
) -> list[Path]:
    """Turn the lines of a run into documents, then remove them.

    Args:
        lines: The .jsonl file.
        formats: Some of :data:`FORMATS`.
        complete: False if the run was interrupted.
        skipped: What could not be read: ``name``, ``reason``, ``count``.

    Returns:
        The documents.

    Raises:
        OSError: If one cannot be written; the lines then stay.
        ValueError: If there is no line.
        ImportError: If one needs a library that is not installed; see :func:`check_formats`.
    """
    lines = Path(lines)
    if (header := next(_records(lines), None)) is None:
        raise ValueError(f'{lines} holds no results: the run ended before the first frame; remove the file')
    _check_header(lines, header)
    footer = dict(complete=complete, skipped=list(skipped))
    writers = dict(json=_write_json, npz=_write_npz, parquet=_write_parquet)
    files = []
    for name in formats:
        path = lines.with_suffix(f'.{name}')
        with new_file(path) as temporary:
            writers[name](lines, temporary, footer)
        files.append(path)
    lines.unlink()
    return files


def check_formats(formats: Iterable[str]) -> None:
    """Raise an ImportError if one of the formats needs a library that is not installed."""
    if 'parquet' in formats:
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError as error:
            raise ImportError('Parquet files need: pip install pyarrow') from error


def read_results(path: str | Path) -> Iterator[FrameResult]:
    """Read what a run has written, frame by frame.

    Args:
        path: ``results.json``, or ``results.jsonl`` of a run that goes on or was killed.

    Yields:
        The frames, without images.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is of another schema or damaged.
    """
    path = Path(path)
    if path.suffix == '.jsonl':
        records = _records(path)
        header = next(records, None)
        if header is not None:  # else the run ended before its first frame
            _check_header(path, header)
            yield from (_frame(path, frame, header) for frame in records)
        return
    document = _parsed(path, read_bytes(path, MAX_JSON_BYTES))
    _check_header(path, document)
    frames = document.pop('frames', None)
    if not isinstance(frames, list):
        raise ValueError(f'{path} is damaged, or no results: it has no list of frames')
    yield from (_frame(path, frame, document) for frame in frames)


def _check_header(path: Path, header: dict[str, Any]) -> None:
    try:
        check_schema(header)
    except ValueError as error:
        raise ValueError(f'{path} holds no results of mmhier infer: {error}') from None


def _frame(path: Path, frame: dict[str, Any], header: dict[str, Any]) -> FrameResult:
    try:
        return frame_from_json(frame, header)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f'{path} is damaged, or no results ({type(error).__name__}: {error})') from None


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Whole lines of a .jsonl file."""
    with open_file(path) as file:
        for line in file:
            if line.endswith(b'\n'):
                yield _parsed(path, line)


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    document = parse_json(content, str(path))
    if not isinstance(document, dict):
        raise ValueError(f'{path} holds no results of mmhier, but a JSON {type(document).__name__}')
    return document


def _dump(content: Any) -> bytes:
    """JSON; file names that are not UTF-8 become escapes, from which Python makes the same names again."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(',', ':'))
    return text.encode(errors='backslashreplace')


def _write_json(lines: Path, target: Path, footer: dict[str, Any]) -> None:
    with open(lines, 'rb') as source, open(target, 'wb') as file:
        header = json.loads(source.readline() or '{}')
        file.write(_dump(header | footer)[:-1] + b',"frames":[\n')
        separator = b''
        for line in source:
            if line.endswith(b'\n'):
                file.write(separator + line.rstrip(b'\n'))
                separator = b',\n'
        file.write(b'\n]}\n')


def _write_npz(lines: Path, target: Path, footer: dict[str, Any]) -> None:
    """One pass over the lines; columns wait in files of their own, so that memory does not grow."""
    records = _records(lines)
    header = next(records, {}) | footer
    with tempfile.TemporaryDirectory(dir=target.parent, prefix='.npz-') as folder:
        columns = _Columns(Path(folder))
        sources = []
        for row, frame in enumerate(records):
            sources.append(frame['source'])
            columns.add('frame_index', frame['frame_index'], np.int64)
            columns.add('time_s', np.nan if frame['time_s'] is None else frame['time_s'], np.float64)
            columns.add('image_hw', frame['image_hw'], np.int64)
            for person in frame['people']:
                columns.add('frame', row, np.int64)
                for name, kind in _PERSON_FIELDS.items():
                    columns.add(name, person.get(name, -1), kind)
                mesh = person.get('mesh', {})
                for name in _MESH_FIELDS:
                    if name in mesh:
                        columns.add(name, mesh[name], np.float32)
        columns.close()
        with zipfile.ZipFile(target, 'w', zipfile.ZIP_DEFLATED) as archive:
            small = dict(header=np.asarray(json.dumps(header)), source=np.array(sources, dtype=np.str_))
            for name, array in small.items():
                with archive.open(f'{name}.npy', 'w') as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
            columns.copy_into(archive, len(header.get('keypoint_names', ())))


def _write_parquet(lines: Path, target: Path, footer: dict[str, Any]) -> None:
    """One pass over the lines, some rows at a time."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    records = _records(lines)
    schema = _parquet_schema().with_metadata({'mmhier': _dump(next(records, {}) | footer)})
    with ParquetWriter(target, schema, compression='zstd') as writer:
        while rows := [_with_utf8_names(record) for record in islice(records, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))


def _parquet_schema() -> Any:
    """The same for all files, whether anybody is on their frames, and has a mesh, or not."""
    import pyarrow as pa

    def nested(depth: int) -> pa.DataType:
        return pa.list_(nested(depth - 1)) if depth else pa.float64()

    mesh = {name: nested(depth) for name, depth in _MESH_DEPTHS.items()}
    mesh |= {name: pa.string() for name in _MESH_TEXTS}
    person = {name: nested(depth) for name, depth in _DEPTHS.items()}
    person |= dict(track_id=pa.int64(), mesh=pa.struct(mesh.items()))
    frame = {name: pa.string() for name in ('source', 'kind', 'sequence')}
    frame |= dict(fps=pa.float64(), frame_index=pa.int64(), time_s=pa.float64())
    frame |= dict(image_hw=pa.list_(pa.int64()), people=pa.list_(pa.struct(person.items())))
    return pa.schema(frame.items())


def _with_utf8_names(record: dict[str, Any]) -> dict[str, Any]:
    """A frame whose names of files are escaped where they are not UTF-8, as in JSON."""
    names = {name: record[name].encode(errors='backslashreplace').decode() for name in ('source', 'sequence')}
    return record | names


class _Columns:
    """Arrays that grow row by row, each in a file."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: dict[str, Any] = {}
        self._kinds: dict[str, tuple[type, tuple[int, ...]]] = {}
        self._rows: dict[str, int] = {}

    def add(self, name: str, value: Any, kind: type) -> None:
        array = np.asarray(value, kind)  # null becomes NaN
        if name not in self._files:
            self._files[name] = open(self._folder / name, 'wb')  # noqa: SIM115 (closed by close)
            self._kinds[name], self._rows[name] = (kind, array.shape), 0
        self._files[name].write(array.tobytes())
        self._rows[name] += 1

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def copy_into(self, archive: zipfile.ZipFile, num_keypoints: int) -> None:
        """Write all arrays; of those that have no rows, too."""
        empty = dict(
            frame_index=(), time_s=(), image_hw=(2,), frame=(), bbox=(4,), bbox_score=(), track_id=()
        )
        empty |= dict(keypoints=(num_keypoints, 2), keypoint_scores=(num_keypoints,))
        kinds = dict(
            _PERSON_FIELDS, frame_index=np.int64, time_s=np.float64, image_hw=np.int64, frame=np.int64
        )
        for name in empty.keys() | self._kinds.keys():
            kind, shape = self._kinds.get(name) or (kinds[name], empty[name])
            head = dict(
                descr=np.dtype(kind).str, fortran_order=False, shape=(self._rows.get(name, 0), *shape)
            )
            with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
                np.lib.format.write_array_header_2_0(member, head)
                if name in self._files:
                    with open(self._folder / name, 'rb') as column:
                        shutil.copyfileobj(column, member)
