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
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhier.cli.infer_options import PLACES, add_arguments, read_focal
from mmhier.cli.infer_report import print_report, print_skips, printable, progress
from mmhier.cli.out import check_out_folder
from mmhier.cli.trust import apply_trust
from mmhier.suggestions import similar_path

if TYPE_CHECKING:
    from mmhier.geometry.scene_camera import FocalChoice
    from mmhier.inference.inferencer import Inferencer
    from mmhier.media import FrameStream
    from mmhier.visualization.window import Window

__all__ = ['add_arguments', 'run']

SKIPPED, UNWRITABLE, INTERRUPTED = 3, 4, 130


def run(args: argparse.Namespace) -> int:
    """Infer, write, report."""
    begin = time.perf_counter()
    apply_trust(args)
    if args.finish is not None:
        return _finish(args.finish)
    if args.on is not None:
        from mmhier.cli.infer_on import run_on

        return run_on(args)
    from mmhier.cli.infer_defaults import choose
    from mmhier.geometry.scene_camera import FocalChoice

    _check_place(args)
    kinds = _kinds(args)
    check_out_folder(args.out, '--out')
    stream = _stream(args)
    _check_reads(args, kinds, stream)
    style, focal = _style(args), FocalChoice(args.fov, read_focal(args.focal))
    chosen = choose(args)
    if chosen and not args.quiet:
        print(chosen, file=sys.stderr)
    from mmhier.results.writer import OutputError
    from mmhier.visualization.window import Window

    inferencer = _inferencer(args, kinds, stream, focal)
    window = Window() if args.show else None
    try:
        return _infer(args, inferencer, stream, kinds, style, window, begin)
    except OutputError as error:
        print(f'mmhier: {error.strerror}; what was written before is in {args.out}', file=sys.stderr)
        return UNWRITABLE


def _check_place(args: argparse.Namespace) -> None:
    """Refuse what only --on understands."""
    given = [f'--workers {args.workers}'] if args.workers is not None else []
    given += [f'--shard-size {args.shard_size}'] if args.shard_size is not None else []
    given += [f'--out {args.out}'] if isinstance(args.out, str) else []
    given += [name for name in args.inputs if '://' in name or name.lower().endswith('.tar')]
    if given:
        raise ValueError(f'{", ".join(given[:3])}: only with --on {" or --on ".join(PLACES)}')


def _kinds(args: argparse.Namespace) -> list[str]:
    from mmhier.results.writer import ANIMATIONS, KINDS

    save = 'json,overlay' if args.save is None else args.save
    kinds = [] if save == 'none' else [kind.strip() for kind in save.split(',') if kind.strip()]
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise ValueError(f'--save {",".join(unknown)}: no such kind; there are {", ".join(KINDS)}, and none')
    if not kinds and not args.show:
        raise ValueError('--save none without --show would do nothing')
    moving = [f'--root {args.root}'] if args.root else []
    moving += ['--free-feet'] if args.free_feet else []
    if moving and not any(kind in ANIMATIONS for kind in kinds):
        raise ValueError(f'{" and ".join(moving)} would do nothing without --save {" or ".join(ANIMATIONS)}')
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


def _inferencer(
    args: argparse.Namespace, kinds: list[str], stream: 'FrameStream', focal: 'FocalChoice'
) -> 'Inferencer':
    from mmhier.inference.inferencer import Inferencer
    from mmhier.results.writer import ANIMATIONS, MESH_KINDS

    inferencer = Inferencer(
        args.model,
        weights=args.weights,
        device=args.device,
        engine=args.engine,
        precision=args.precision,
        detector=args.detector,
        batch_size=args.batch_size,
        box_threshold=args.box_threshold,
        detector_stride=args.detector_stride,
        # An animation is of somebody; pictures of a folder need not be of the same people.
        track=args.track or (any(kind in ANIMATIONS for kind in kinds) and stream.moving),
        smooth=args.smooth,
        flip_test=args.flip_test,
        box_padding=args.box_padding,
        fov=focal.fov,
        focal=focal.focal,
    )
    kinds = [kind for kind in kinds if kind in MESH_KINDS]
    needs_mesh = [f'--save {",".join(kinds)}'] if kinds else []
    if args.style in ('mesh', 'both'):
        needs_mesh.append(f'--style {args.style}')
    if needs_mesh:
        inferencer.check_mesh(' and '.join(needs_mesh))
    return inferencer


def _infer(
    args: argparse.Namespace,
    inferencer: 'Inferencer',
    stream: 'FrameStream',
    kinds: list[str],
    style: dict[str, Any],
    window: 'Window | None',
    begin: float,
) -> int:
    from mmhier.inference.written_run import WrittenRun
    from mmhier.results.writer import ResultWriter

    inference, writer = inferencer(stream, args.boxes), None
    if kinds:
        root = args.root or 'metric'
        writer = ResultWriter(args.out, kinds, style, root, not args.free_feet, overwrite=args.overwrite)
    seconds = dict(loading=time.perf_counter() - begin) | (dict(window=0.0) if window is not None else {})
    with (
        _stopping() as stop,
        WrittenRun(inference, writer) as run,
        progress(inference, args.quiet) as advance,
    ):
        for result in run:
            advance()
            if window is not None:
                start = time.perf_counter()
                goes_on = window.show(result.draw(**style), wait=result.kind not in ('video', 'camera'))
                seconds['window'] += time.perf_counter() - start
                if not goes_on:
                    break
            del result
            if stop:
                run.interrupted = True
                break
    if not args.quiet:
        print_report(run, args.out, time.perf_counter() - begin, seconds | run.seconds)
    print_skips(inference.skips)
    if stop:
        print('mmhier: interrupted; the files hold what was computed until then', file=sys.stderr)
        return INTERRUPTED
    return SKIPPED if inference.skips else 0


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


def _finish(lines: Path) -> int:
    from mmhier.results.files import finish

    if not lines.is_file():
        raise FileNotFoundError(f'{lines} does not exist{similar_path(lines)}')
    try:
        for path in finish(lines, ('json', 'npz'), complete=False):
            print(printable(path))
    except OSError as error:
        print(f'mmhier: {error}; {lines} is still there, run this again when that is solved', file=sys.stderr)
        return UNWRITABLE
    return 0
