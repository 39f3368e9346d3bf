"""All files of a run, written while results come in.

| kind     | of an image                  | of a video                                       |
|----------|------------------------------|--------------------------------------------------|
| json     | ``results.json``, one for the whole run, see :mod:`mmhier.results.files` | the same |
| npz, parquet | ``results.npz``, ``results.parquet``, likewise | the same                           |
| overlay  | ``NAME_overlay.jpg``         | ``NAME_overlay.mp4``, same size, times of the video |
| side     | ``NAME_side.jpg``            | ``NAME_side.mp4``: meshes from the side          |
| side_each | ``NAME_side_each.jpg``      | ``NAME_side_each.mp4``: each for itself          |
| obj, ply | ``NAME_person_0.obj`` ...    | ``NAME_obj/000012_person_3.obj`` ...             |
| glb, usd | ``NAME.glb``: everybody      | ``NAME.glb``: everybody, animated                |
| bvh      | ``NAME.bvh``, or one per person | the same, animated                            |

NAME is that of the input, with a number where two inputs share it. People are called by their track number,
or by their place in the frame where nobody has one; among others who have one, somebody without is
``unnumbered_0``. Pages of a file are images: from the second on they are ``NAME_page_2`` and so on.

Files of a video are finished when it ends; whatever ends the run, :meth:`ResultWriter.close` finishes those
of the video that was being read. A folder belongs to one run at a time, see :mod:`mmhier.folder_lock`.
Meshes in OBJ and PLY stand in the world of :mod:`mmhier.scene_files`, seen from the camera.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmhier.folder_lock import FolderLock
from mmhier.media.frames import Skip
from mmhier.media.writers import VideoWriter, write_image
from mmhier.results.earlier import earlier_files, record_files, remove_earlier
from mmhier.results.files import FORMATS, ResultLines, check_formats, finish
from mmhier.results.frame_result import FrameResult
from mmhier.results.motions import MotionRecorder
from mmhier.results.output_names import OutputNames, source_stem
from mmhier.visualization.style import Style

logger = logging.getLogger('mmhier')

MESH_KINDS = ('side', 'side_each', 'obj', 'ply', 'glb', 'bvh', 'usd')
KINDS = (*FORMATS, 'overlay', *MESH_KINDS)

_MESH_FILES = ('obj', 'ply')
ANIMATIONS = ('glb', 'bvh', 'usd')
_Vertices = Sequence[np.ndarray | None]
_PICTURES: dict[str, Callable[[FrameResult, _Vertices, dict[str, Any]], np.ndarray]] = {
    'overlay': lambda result, vertices, style: result.draw(vertices, **style),
    'side': lambda result, vertices, style: result.draw_side(vertices, style.get('colours', 'auto')),
    'side_each': lambda result, vertices, style: result.draw_side(
        vertices, style.get('colours', 'auto'), each=True
    ),
}
_MOVING = ('video', 'camera')


class OutputError(OSError):
    """A file cannot be written; those that were finished before are whole."""


class ResultWriter:
    """Writes the files of a run; use it in a ``with`` statement, or close it.

    Args:
        folder: Where to.
        kinds: Which files, of :data:`KINDS`.
        style: How people are drawn: values of :class:`mmhier.visualization.style.Style` by name.
        root: How people move in animations: 'metric' through the scene, 'image' in a plane at one distance,
            'fixed' on the spot; see :func:`mmhier.tracking.root_motion.root_motion`.
        feet: Whether feet that stand are held in animations.
        overwrite: Remove what earlier runs have left in the folder, see :mod:`mmhier.results.earlier`, when
            this one is complete: of a run that fails nobody loses results, save those it has replaced.

    Attributes:
        files (list[Path]): Those that are finished.
        left_out (Counter[str]): Bodies that are not in files where others are, by reason.
        seconds (dict[str, float]): Time spent so far: ``drawing``, which includes posing the bodies, and
            ``writing``, which includes encoding.

    Raises:
        ValueError: If there is no such kind or root, a value of the style is unknown, or the list of what
            earlier runs have left is damaged.
        FileExistsError: If another run writes to the folder, or it holds results of one that was killed.
        OutputError: If the folder cannot be written to.
        ImportError: If a kind needs a library that is not installed.
    """

    def __init__(
        self,
        folder: str | Path,
        kinds: Sequence[str],
        style: dict[str, Any] | None = None,
        root: str = 'metric',
        feet: bool = True,
        *,
        overwrite: bool = False,
    ):
        unknown = [kind for kind in kinds if kind not in KINDS]
        if unknown or not kinds:
            raise ValueError(
                f'no files of the kind {", ".join(unknown) or "nothing"}; there are: {", ".join(KINDS)}'
            )
        self._new_recorder = partial(MotionRecorder, root, feet)
        self._new_recorder()  # refuses a wrong root before anything is made
        if 'usd' in kinds:
            _check_usd()
        check_formats(kinds)
        self._style = asdict(Style(**(style or {})))
        self.folder = Path(folder)
        self.kinds = tuple(dict.fromkeys(kinds))
        self.files: list[Path] = []
        self.left_out: Counter[str] = Counter()
        self.seconds = dict(drawing=0.0, writing=0.0)
        self._formats = [kind for kind in self.kinds if kind in FORMATS]
        self._overwrite = overwrite
        self._lock: FolderLock | None = None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(self.folder)
            self._meet_earlier()
            self._lines = ResultLines(self.folder / 'results.jsonl') if self._formats else None
        except ValueError:
            self._lock.release()
            raise
        except OSError as error:
            if self._lock is not None:
                self._lock.release()
            if isinstance(error, FileExistsError) and self.folder.is_dir():
                raise
            raise _output_error(error) from error
        self._names = OutputNames()
        self._place: tuple[str, int] | None = None  # source and number of the latest frame
        self._name = ''
        self._videos: dict[str, VideoWriter] = {}
        self._recorder: MotionRecorder | None = None

    def __enter__(self) -> 'ResultWriter':
        return self

    def __exit__(self, kind: type | None, *_) -> None:
        self.close(complete=kind is None)

    def write(self, result: FrameResult) -> None:
        """Write what belongs to a frame.

        Raises:
            OutputError: If a file cannot be written.
        """
        try:
            with self._writing():
                self._write(result)
        except OSError as error:
            raise _output_error(error) from error

    def close(self, complete: bool = True, skipped: Iterable[Skip] = ()) -> None:
        """Finish all files.

        Args:
            complete: False if the run was interrupted; files say so.
            skipped: What could not be read; files say so.

        Raises:
            OutputError: If a file cannot be finished; the others are finished all the same.
        """
        try:
            with self._writing(), ExitStack() as steps:  # each is taken, whatever happens in the others
                steps.callback(self._lock.release)
                steps.callback(lambda: record_files(self.folder, self.files))
                steps.push(lambda kind, *_: self._remove_earlier(complete and kind is None))
                steps.callback(self._finish_results, complete, skipped)
                steps.callback(self._finish_source)
        except OSError as error:
            raise _output_error(error) from error

    def _meet_earlier(self) -> None:
        """Say what earlier runs have left, unless it is to be removed."""
        earlier = earlier_files(self.folder)
        if earlier and not self._overwrite:
            logger.warning(
                '%s holds %d files of earlier runs, such as %s; those that this one does not replace '
                'stay beside its own (--overwrite removes them)',
                self.folder, len(earlier), earlier[0].name,
            )  # fmt: skip

    def _remove_earlier(self, complete: bool) -> None:
        if self._overwrite and complete and self.files:
            remove_earlier(self.folder, self.files)

    def _write(self, result: FrameResult) -> None:
        if self._lines is not None:
            self._lines.write(result)
        self._begin_source(result)
        posed = any(kind in self.kinds for kind in (*_PICTURES, *_MESH_FILES))
        with self._drawing():
            vertices = result.vertices() if posed else ()
        for kind, draw in _PICTURES.items():
            if kind in self.kinds:
                with self._drawing():
                    picture = draw(result, vertices, self._style)
                self._write_picture(kind, picture, result)
        for kind in _MESH_FILES:
            if kind in self.kinds:
                self._write_meshes(kind, result, vertices)
        if self._recorder is not None:
            self._recorder.add(result)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Count the time of everything within, save drawing."""
        start, drawn = time.perf_counter(), self.seconds['drawing']
        try:
            yield
        finally:
            self.seconds['writing'] += time.perf_counter() - start - (self.seconds['drawing'] - drawn)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds['drawing'] += time.perf_counter() - start

    def _begin_source(self, result: FrameResult) -> None:
        source = result.source if result.kind != 'array' else f'array_{result.frame_index:06d}'
        before, self._place = self._place, (source, result.frame_index)
        goes_on = before is not None and before[0] == source and before[1] < result.frame_index
        if goes_on and result.kind != 'image':
            return
        self._finish_source()
        stem = source_stem(source)
        if goes_on:
            stem = f'{stem}_page_{result.frame_index + 1}'
        self._name = stem if result.kind == 'array' else self._names.new(stem)
        if any(kind in self.kinds for kind in ANIMATIONS):
            self._recorder = self._new_recorder()

    def _write_picture(self, kind: str, picture: np.ndarray, result: FrameResult) -> None:
        if result.kind not in _MOVING:
            self.files.append(write_image(self.folder / f'{self._name}_{kind}.jpg', picture))
            return
        if kind not in self._videos:
            self._videos[kind] = VideoWriter(self.folder / f'{self._name}_{kind}.mp4', result.fps)
            self._video_hw = picture.shape[:2]
        if picture.shape[:2] != self._video_hw:  # some streams change their resolution
            picture = cv2.resize(picture, self._video_hw[::-1], interpolation=cv2.INTER_AREA)
        self._videos[kind].write(picture, result.time_s)

    def _write_meshes(self, kind: str, result: FrameResult, posed: _Vertices) -> None:
        from mmhier.scene_files import body_note, write_obj, write_ply

        writer = dict(obj=write_obj, ply=write_ply)[kind]
        start = self.folder / f'{self._name}_'
        if result.kind in _MOVING:
            start = self.folder / f'{self._name}_{kind}' / f'{result.frame_index:06d}_'
        numbered = any(person.track_id is not None for person in result.people)
        for position, (person, vertices) in enumerate(zip(result.people, posed)):
            if vertices is None:
                continue
            if not np.isfinite(vertices).all():
                self.left_out[f'bodies that are not finite, in {kind}'] += 1
                continue
            name = f'person_{position if person.track_id is None else person.track_id}'
            if numbered and person.track_id is None:
                name = f'unnumbered_{position}'
            path = start.with_name(f'{start.name}{name}.{kind}')
            path.parent.mkdir(parents=True, exist_ok=True)
            self.files.append(writer(path, vertices, person.mesh.faces, body_note(person.mesh.layer())))

    def _finish_source(self) -> None:
        """Finish the files of the current input."""
        videos, self._videos = self._videos, {}
        recorder, self._recorder = self._recorder, None
        errors: list[OSError] = []
        for video in videos.values():
            try:
                video.close()
                self.files.append(video.path)
            except OSError as error:
                errors.append(error)
        motions = recorder.motions() if recorder is not None else []
        self.left_out += recorder.left_out if recorder is not None else Counter()
        if motions:
            from mmhier.scene_files import write_bvh, write_glb, write_usd

            self.folder.mkdir(parents=True, exist_ok=True)
            for kind, write in dict(glb=write_glb, bvh=write_bvh, usd=write_usd).items():
                if kind in self.kinds:
                    try:
                        written = write(self.folder / f'{self._name}.{kind}', motions)
                        self.files += written if isinstance(written, list) else [written]
                    except OSError as error:
                        errors.append(error)
        if errors:
            raise errors[0]

    def _finish_results(self, complete: bool, skipped: Iterable[Skip]) -> None:
        lines, self._lines = self._lines, None
        if lines is None:
            return
        lines.close()
        records = [dict(name=skip.name, reason=skip.reason, count=skip.count) for skip in skipped]
        if lines.count:
            self.files += finish(lines.path, self._formats, complete, records)
        else:
            lines.path.unlink()


def _output_error(error: OSError) -> OutputError:
    if isinstance(error, OutputError):
        return error
    place = f'{error.filename}: ' if getattr(error, 'filename', None) else ''
    return OutputError(error.errno, f'results cannot be written: {place}{error.strerror or error}')


def _check_usd() -> None:
    try:
        import pxr  # noqa: F401
    except ImportError as error:
        raise ImportError('USD files need: pip install usd-core') from error
