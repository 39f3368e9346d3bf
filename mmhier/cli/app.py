"""``mmhier app``: serve the page of :mod:`mmhier.web` until somebody ends it."""

import argparse
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmhier.cli.infer_options import add_detector_option, add_engine_options
from mmhier.cli.trust import add_trust_option, apply_trust
from mmhier.web.gate import app_folder
from mmhier.web.page import MAX_FRAMES, Analyzer, build_page, find_models, import_gradio, launch


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = 'Models that have a checkpoint in pretrained/ or work_dirs/ can be chosen in the page.'
    parser.add_argument(
        '--model',
        metavar='NAME',
        help='offer this model first; config file or name',
    )
    parser.add_argument(
        '--weights', metavar='WEIGHTS', help='its weights: file, address, or name of released ones'
    )
    add_detector_option(parser, 'or whole_image: one person per image (the default)')
    add_engine_options(parser)
    parser.add_argument(
        '--max-frames',
        type=int,
        default=MAX_FRAMES,
        metavar='N',
        help='longest video that is taken (default: %(default)s)',
    )
    parser.add_argument(
        '--host',
        default='127.0.0.1',
        help='address to listen at; 0.0.0.0 lets everybody in your network use the page, without a password '
        '(default: %(default)s)',
    )
    parser.add_argument('--port', type=int, help='default: the first that is free from 7860; 0: any')
    parser.add_argument(
        '--allow-host',
        action='append',
        default=[],
        metavar='NAME',
        help='further name under which the page may be opened, for instance that of a proxy; can be repeated',
    )
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C, SIGTERM or SIGHUP."""
    apply_trust(args)
    import_gradio()
    if args.max_frames < 1:
        raise ValueError(f'--max-frames must be at least 1, got {args.max_frames}')
    models = find_models(args.model, args.weights)
    settings = dict(device=args.device, engine=args.engine, precision=args.precision, detector=args.detector)
    with _ended_by_signals(), app_folder() as folder:
        analyzer = Analyzer(models, folder, args.max_frames, **settings)
        analyzer.inferencer(next(iter(models)))  # what is wrong with it, is said before the page is there
        page = build_page(analyzer)
        print(f'{launch(page, args.host, args.port, args.allow_host)} (Ctrl-C: stop)', flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
        finally:
            page.close(verbose=False)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Have SIGTERM, and SIGHUP of a terminal that is closed, end the program as Ctrl-C does, cleanly.

    Under nohup SIGHUP stays ignored.
    """
    names = [name for name in ('SIGTERM', 'SIGHUP') if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
