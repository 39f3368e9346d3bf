"""``mmhier infer --on ray`` and ``--on local``: very many inputs, in shards that are done once.

Exit status: 0 all went well; 1 an error of the user's, or shards that could not be done (they are named);
3 some inputs were damaged or unreadable (they are named); 4 results could not be written; 130 Ctrl-C. After
anything but 0 and 3 the same command goes on with the shards that are not done.
"""

import argparse
import sys
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmhier.cli.infer_options import SHARD_SIZE, read_focal
from mmhier.cli.infer_report import print_left_out, print_skips, printable
from mmhier.cli.out import check_out_folder
from mmhier.file_endings import is_video

if TYPE_CHECKING:
    from mmhier.labelling.labeller import Job, Report
    from mmhier.labelling.plan import Plan
    from mmhier.labelling.scheduling import Failure, Pool
    from mmhier.media import Skip

FAILED, SKIPPED, UNWRITABLE = 1, 3, 4
_SHOWN = 5  # shards that are listed
# What is for a run at a screen, or for pictures: option -> its value if it is not given.
_NOT_HERE = dict(
    webcam=None, show=False, overwrite=False, style='auto', colours='auto', background='image',
    draw_boxes=False, line_width=None, score_threshold=0.3, root=None, free_feet=False,
)  # fmt: skip


def run_on(args: argparse.Namespace) -> int:
    """Plan, label what is not done, report."""
    from mmhier.cli.infer_defaults import choose
    from mmhier.labelling.plan import find_inputs, make_plan
    from mmhier.results.writer import OutputError

    begin = time.perf_counter()
    formats = _formats(args)
    _check_options(args)
    folder = args.out if isinstance(args.out, str) else str(args.out.absolute())
    left_out: Counter[str] = Counter()
    inputs = find_inputs(args.inputs, left_out)
    _check_tracks(args, inputs)
    chosen = choose(args)
    if chosen and not args.quiet:
        print(chosen, file=sys.stderr)
    job, settings = _job(args, folder, formats)
    with ExitStack() as stack:
        stack.enter_context(_held(args.out))
        try:
            plan = make_plan(folder, inputs, settings, formats)
            if plan.new:
                left_out['inputs that came after the plan was made'] += plan.new
            labelled = _Labelled(args, plan, left_out)
            failures = _label(args, job, plan, labelled) if plan.todo else []
            failures += _lost(job, plan, failures)
        except OutputError as error:
            print(f'mmhier: {error.strerror}; the shards that are done stay', file=sys.stderr)
            return UNWRITABLE
        return labelled.report(failures, time.perf_counter() - begin)


def _formats(args: argparse.Namespace) -> tuple[str, ...]:
    from mmhier.results.files import FORMATS, check_formats

    formats = tuple(dict.fromkeys(one.strip() for one in (args.save or 'json').split(',') if one.strip()))
    unknown = [one for one in formats if one not in FORMATS]
    if unknown or not formats:
        raise ValueError(f'--save {args.save} with --on {args.on}: there are {", ".join(FORMATS)}')
    check_formats(formats)
    return formats


def _check_options(args: argparse.Namespace) -> None:
    given = [name for name, value in _NOT_HERE.items() if getattr(args, name) != value]
    if given:
        options = ', '.join(f'--{name.replace("_", "-")}' for name in given)
        raise ValueError(f'{options}: not with --on {args.on}, which writes no pictures and reads no camera')
    for option, value in (('--workers', args.workers), ('--shard-size', args.shard_size)):
        if value is not None and value < 1:
            raise ValueError(f'{option} {value}: must be at least 1')
    if args.workers is not None and args.on != 'ray':
        raise ValueError(f'--workers {args.workers}: --on {args.on} has one, which is this process')
    if args.on == 'ray' and args.device.startswith('cuda:'):
        raise ValueError(f'--device {args.device}: Ray gives every worker a GPU of its own; say cuda or auto')
    if not args.inputs:
        raise ValueError('nothing to do: name images, videos, tars, folders, patterns or lists (.txt)')
    if not args.max_megapixels > 0:
        raise ValueError(f'--max-megapixels {args.max_megapixels:g}: must be above 0')
    if args.weights == 'random':
        raise ValueError('--weights random: every worker would have weights of its own')
    if not isinstance(args.out, str):
        check_out_folder(args.out, '--out')


def _check_tracks(args: argparse.Namespace, inputs: list[str]) -> None:
    """Tracks reach from picture to picture of a folder, and shards part them."""
    relating = [name for name, given in (('--track', args.track), ('--smooth', args.smooth)) if given]
    relating += [f'--detector-stride {args.detector_stride}'] if args.detector_stride > 1 else []
    picture = next((name for name in inputs if not is_video(name)), None)
    if relating and picture is not None:
        raise ValueError(
            f'{" and ".join(relating)} with --on {args.on}: for videos only, as shards part the pictures of '
            f'a folder; {picture} is none'
        )


def _held(folder: Path | str) -> Any:
    """A folder of this machine belongs to one run at a time; what killed ones have left in it goes away."""
    from mmhier.atomic import remove_leftovers
    from mmhier.folder_lock import FolderLock

    stack = ExitStack()
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
        stack.callback(FolderLock(folder).release)
        remove_leftovers(folder, r'(results_\d+|plan)\.\w+')
    return stack


def _job(args: argparse.Namespace, folder: str, formats: tuple[str, ...]) -> 'tuple[Job, dict[str, Any]]':
    """What workers need; what the results depend on. What has to be fetched is fetched here, once."""
    from mmhier.labelling.labeller import Job
    from mmhier.labelling.preparation import fetch_detector, fetch_weights, identity

    weights = fetch_weights(args.model, args.weights, args.engine)
    detector = None if args.boxes else fetch_detector(args.detector, args.box_threshold)
    names = ('model', 'engine', 'precision', 'batch_size', 'box_threshold', 'box_padding', 'detector_stride')
    names += ('track', 'smooth', 'flip_test', 'fov')
    model = {name: getattr(args, name) for name in names}
    model |= dict(focal=read_focal(args.focal), weights=weights, detector=detector)
    job = Job(model | dict(device=args.device), args.boxes, folder, formats, int(args.max_megapixels * 1e6))
    settings = model | {name: identity(model[name]) for name in ('model', 'engine', 'weights', 'detector')}
    settings |= dict(boxes=identity(args.boxes), max_pixels=job.max_pixels, formats=list(formats))
    settings['shard_size'] = SHARD_SIZE if args.shard_size is None else args.shard_size
    return job, settings


def _label(args: argparse.Namespace, job: 'Job', plan: 'Plan', labelled: '_Labelled') -> 'list[Failure]':
    from mmhier.labelling.scheduling import OwnProcess, label_all

    with ExitStack() as stack:
        stack.enter_context(labelled)
        pool: Pool
        if args.on == 'ray':
            from mmhier.labelling.ray_pool import RayPool

            pool = stack.enter_context(RayPool(job, args.workers, len(plan.todo)))
        else:
            pool = OwnProcess(job)
        return label_all(pool, plan.todo, labelled.add)


def _lost(job: 'Job', plan: 'Plan', failures: 'list[Failure]') -> 'list[Failure]':
    """Shards whose files are not where this process looks, though somebody has written them."""
    from mmhier.labelling.plan import is_done
    from mmhier.labelling.scheduling import Failure
    from mmhier.labelling.storage import names_in

    there, named = names_in(job.folder), {failure.shard for failure in failures}
    lost = [s for s in plan.todo if s not in named and not is_done(s, there, job.formats)]
    reason = f'its files are not in {job.folder}: that has to be a folder which all machines share'
    return [Failure(shard, reason) for shard in lost]


class _Labelled:
    """Counts what is done, shows it while it goes on, and says it at the end."""

    def __init__(self, args: argparse.Namespace, plan: 'Plan', left_out: Counter[str]):
        self._args, self._plan, self._left_out = args, plan, left_out
        self._shards = self._frames = self._people = 0
        self._skips: list[Skip] = []
        self._bar = None

    def __enter__(self) -> None:
        if not self._args.quiet:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn('shards'), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bar = Progress(*columns, console=Console(stderr=True))
            self._bar.start()
            self._bar.add_task('shards', total=len(self._plan.todo))

    def __exit__(self, *_) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, report: 'Report') -> None:
        self._shards += 1
        self._frames += report.frames
        self._people += report.people
        self._skips += report.skips
        self._left_out += report.left_out
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0])

    def report(self, failures: 'list[Failure]', wall: float) -> int:
        """Print it; return the exit status."""
        before = len(self._plan.shards) - len(self._plan.todo)
        if not self._args.quiet:
            again = f'; {before} were done before' if before else ''
            print(
                f'{self._shards} of {len(self._plan.shards)} shards{again}: {self._frames} frames, '
                f'{self._people} people in {wall:.1f} s, in {printable(self._args.out)}'
            )
            print_left_out(self._left_out)
        print_skips(sorted(self._skips, key=lambda skip: (skip.name, skip.reason)))
        for failure in failures[:_SHOWN]:
            inputs = failure.shard.inputs
            print(
                f'mmhier: shard {failure.shard.number} ({inputs[0]} and {len(inputs) - 1} more inputs) is '
                f'not done: {failure.reason}',
                file=sys.stderr,
            )
        if failures:
            print(
                f'mmhier: {len(failures)} shards are not done; the same command tries them again',
                file=sys.stderr,
            )
            return FAILED
        return SKIPPED if self._skips else 0
