"""``mmhier infer``: poses and meshes of the people in pictures, videos and on a camera.

Exit status: 0 all went well; 1 an error of the user's, such as a missing file, or nothing could be read;
2 wrong options; 3 it went well, but some inputs were damaged or unreadable (they are named); 4 results could
not be written, for instance because the disk is full; 130 Ctrl-C or SIGTERM, after the files were finished.
Whatever happens, results computed before are on disk and valid, see :mod:`mmhier.results.files`.
"""

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhier.cli.infer_options import add_arguments
from mmhier.cli.out import check_out_folder
from mmhier.cli.trust import apply_trust
from mmhier.suggestions import similar_path

if TYPE_CHECKING:
    from mmhier.inference.inferencer import Inferencer, InferenceRun
    from mmhier.media import FrameStream
    from mmhier.results.frame_result import FrameResult
    from mmhier.results.writer import ResultWriter
    from mmhier.results.writer_thread import WriterThread

__all__ = ['add_arguments', 'run']

SKIPPED, UNWRITABLE, INTERRUPTED = 3, 4, 130

_WINDOW = 'mmhier (q: stop)'
_FOCAL_SOURCES = dict(
    assumed='assumed (55 degrees over the longer side; --fov or --focal, if you know it)',
    exif='of EXIF',
    official='of HMR2.0 (distances mean nothing)',
)
_SHOWN = 5  # skips that are listed; all are in results.json


def run(args: argparse.Namespace) -> int:
    """Infer, write, report."""
    begin = time.perf_counter()
    apply_trust(args)
    if args.finish is not None:
        return _finish(args.finish)
    from mmhier.cli.infer_defaults import choose

    kinds = _kinds(args)
    check_out_folder(args.out, '--out')
    stream = _stream(args)
    _check_reads(args, kinds, stream)
    chosen = choose(args)
    if chosen and not args.quiet:
        print(chosen, file=sys.stderr)
    from mmhier.results.writer import OutputError

    style = _style(args)
    inferencer = _inferencer(args, kinds, stream)
    if args.show:
        _check_window()
    try:
        return _infer(args, inferencer, stream, kinds, style, begin)
    except OutputError as error:
        print(f'mmhier: {error.strerror}; what was written before is in {args.out}', file=sys.stderr)
        return UNWRITABLE


def _kinds(args: argparse.Namespace) -> list[str]:
    from mmhier.results.writer import KINDS

    kinds = [] if args.save == 'none' else [kind.strip() for kind in args.save.split(',') if kind.strip()]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f'--save {",".join(unknown)}: no such kind; there are {", ".join(KINDS)}, and none')
    if not kinds and not args.show:
        raise ValueError('--save none without --show would do nothing')
    return kinds


def _stream(args: argparse.Namespace) -> 'FrameStream':
    """The inputs, before a model is loaded for nothing."""
    from mmhier.media import FrameStream

    inputs = [*args.inputs] if args.webcam is None else [*args.inputs, args.webcam]
    if not inputs:
        raise ValueError('nothing to do: name an image, a video, a folder or a pattern, or use --webcam 0')
    if not args.max_megapixels > 0:
        raise ValueError(f'--max-megapixels {args.max_megapixels:g}: must be above 0')
    return FrameStream(inputs, max_pixels=int(args.max_megapixels * 1e6))


def _check_reads(args: argparse.Namespace, kinds: list[str], stream: 'FrameStream') -> None:
    """Nothing that is read may be removed or written over."""
    from mmhier.results.earlier import check_inputs
    from mmhier.results.output_names import check_outputs

    reads = [*stream.files, *(Path(name).expanduser() for name in (args.boxes, args.detector) if name)]
    if args.overwrite:
        check_inputs(args.out, reads)
    if kinds:
        check_outputs(args.out, kinds, stream.names or (), reads)


def _style(args: argparse.Namespace) -> dict[str, Any]:
    """How people are drawn."""
    from mmhier.visualization.style import Style

    style = dict(
        score_thr=args.score_threshold,
        line_width=args.line_width,
        boxes=args.draw_boxes,
        style=args.style,
        colours=args.colours,
        background=args.background,
    )
    Style(**style)  # refuses what is out of range before a model is loaded
    return style


def _inferencer(args: argparse.Namespace, kinds: list[str], stream: 'FrameStream') -> 'Inferencer':
    from mmhier.inference.estimators import PoseEstimator
    from mmhier.inference.inferencer import Inferencer
    from mmhier.results.writer import ANIMATIONS, MESH_KINDS

    inferencer = Inferencer(
        args.model,
        weights=args.weights,
        device=args.device,
        engine=args.engine,
        detector=args.detector,
        batch_size=args.batch_size,
        box_threshold=args.box_threshold,
        detector_stride=args.detector_stride,
        # An animation is of somebody; pictures of a folder need not be of the same people.
        track=args.track or (any(kind in ANIMATIONS for kind in kinds) and stream.moving),
        smooth=args.smooth,
        flip_test=args.flip_test,
        box_padding=args.box_padding,
        fov=args.fov,
        focal=_focal(args.focal),
    )
    kinds = [kind for kind in kinds if kind in MESH_KINDS]
    needs_mesh = [f'--save {",".join(kinds)}'] if kinds else []
    if args.style in ('mesh', 'both'):
        needs_mesh.append(f'--style {args.style}')
    if needs_mesh and isinstance(inferencer.estimator, PoseEstimator):
        raise ValueError(f'{" and ".join(needs_mesh)} needs a mesh model, not {inferencer.estimator.name}')
    return inferencer


def _focal(text: str | None) -> float | str | None:
    if text in (None, 'official'):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'--focal {text}: expected pixels, or official') from None


def _infer(
    args: argparse.Namespace,
    inferencer: 'Inferencer',
    stream: 'FrameStream',
    kinds: list[str],
    style: dict[str, Any],
    begin: float,
) -> int:
    from mmhier.results.writer import ResultWriter
    from mmhier.results.writer_thread import WriterThread

    inference = inferencer(stream, args.boxes)
    writer = (
        ResultWriter(args.out, kinds, style, args.root, not args.free_feet, overwrite=args.overwrite)
        if kinds
        else None
    )
    files = WriterThread(writer) if writer is not None else None
    seconds = dict(loading=time.perf_counter() - begin)
    complete = False
    with _stopping() as stop, inference:
        try:
            complete = _loop(args, inference, files, stop, seconds, style)
        finally:
            inference.close()
            if files is not None:
                files.close(complete, inference.skips)
    if not args.quiet:
        seconds |= inference.seconds | (dict(files=files.waited) if files is not None else {})
        beside = dict(decoding=stream.seconds) | (writer.seconds if writer is not None else {})
        _report(inference, writer, time.perf_counter() - begin, seconds, beside)
        if left_out := inference.left_out + (writer.left_out if writer is not None else Counter()):
            parts = (f'{reason}: {count}' for reason, count in left_out.items())
            print(f'mmhier: left out: {", ".join(parts)}', file=sys.stderr)
    for skip in inference.skips[:_SHOWN]:
        print(f'mmhier: {skip}', file=sys.stderr)
    if len(inference.skips) > _SHOWN:
        print(f'mmhier: the like in {len(inference.skips) - _SHOWN} more places', file=sys.stderr)
    if stop:
        print('mmhier: interrupted; the files hold what was computed until then', file=sys.stderr)
        return INTERRUPTED
    return SKIPPED if inference.skips else 0


def _loop(
    args: argparse.Namespace,
    inference: 'InferenceRun',
    files: 'WriterThread | None',
    stop: list[int],
    seconds: dict[str, float],
    style: dict[str, Any],
) -> bool:
    """Compute and write frame by frame; False if the user has stopped it."""
    if args.show:
        seconds['window'] = 0.0
    with _progress(inference, args.quiet) as advance:
        for result in inference:
            if files is not None:
                files.write(result)
            advance()
            if args.show:
                start = time.perf_counter()
                goes_on = _show(result, style)
                seconds['window'] += time.perf_counter() - start
                if not goes_on:
                    return True
            del result
            if stop:
                return False
    return True


@contextmanager
def _progress(inference: 'InferenceRun', quiet: bool) -> Iterator:
    """A bar with the rate and the time that is left."""
    if quiet:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn('frames'), BarColumn(), MofNCompleteColumn(), TextColumn('{task.fields[rate]}'),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task('frames', total=inference.total(), rate='')

        def advance() -> None:
            seconds = progress.tasks[0].elapsed or 0
            rate = f'{inference.frames / seconds:.1f}/s' if seconds else ''
            progress.update(task, completed=inference.frames, rate=rate)

        yield advance


@contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that Ctrl-C or SIGTERM puts something into, so that a frame is never half written.

    The second signal interrupts at once.
    """
    received: list[int] = []

    def note(number: int, frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(
    inference: 'InferenceRun',
    writer: 'ResultWriter | None',
    wall: float,
    seconds: dict[str, float],
    beside: dict[str, float],
) -> None:
    """Say what was done and where the time went.

    Args:
        inference: What has run.
        writer: What has written.
        wall: Seconds from the start of the command.
        seconds: What they were spent on; ``frames`` and ``files`` are the time that the network has waited
            for them.
        beside: Seconds of work in other threads meanwhile.
    """
    print(f'{inference.frames} frames, {inference.people} people in {wall:.1f} s: {_spent(seconds)}')
    print(f'beside that, in other threads: {_spent(beside)}')
    sources = [_FOCAL_SOURCES[name] for name in inference.focal_sources if name in _FOCAL_SOURCES]
    if sources:
        print(f'distances from the camera: focal length {", ".join(sources)}')
    files = [] if writer is None else writer.files
    for path in files[-_SHOWN:]:
        print(_printable(path))
    if len(files) > _SHOWN:
        print(f'and {len(files) - _SHOWN} more files in {_printable(writer.folder)}')


def _spent(seconds: dict[str, float]) -> str:
    return ', '.join(f'{stage} {spent:.1f} s' for stage, spent in seconds.items())


def _printable(path: Path) -> str:
    """A path whose name need not be UTF-8, as a terminal takes it."""
    return str(path).encode(errors='backslashreplace').decode()


def _finish(lines: Path) -> int:
    from mmhier.results.files import FORMATS, finish

    if not lines.is_file():
        raise FileNotFoundError(f'{lines} does not exist{similar_path(lines)}')
    try:
        for path in finish(lines, FORMATS, complete=False):
            print(_printable(path))
    except OSError as error:
        print(f'mmhier: {error}; {lines} is still there, run this again when that is solved', file=sys.stderr)
        return UNWRITABLE
    return 0


def _show(result: 'FrameResult', style: dict[str, Any]) -> bool:
    """Show a result; False if the user has had enough."""
    import cv2

    cv2.imshow(_WINDOW, result.draw(**style))
    return cv2.waitKey(1 if result.kind in ('video', 'camera') else 0) & 0xFF not in (ord('q'), 27)


def _check_window() -> None:
    import cv2

    try:
        cv2.namedWindow(_WINDOW)
    except cv2.error:
        raise ImportError(
            '--show needs a display, and an OpenCV that opens windows: pip uninstall opencv-python-headless; '
            'pip install opencv-python'
        ) from None
