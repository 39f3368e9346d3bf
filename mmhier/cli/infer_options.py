"""The options of ``mmhier infer``."""

import argparse
from pathlib import Path

from mmhier.cli.trust import add_trust_option

# As mmhier.visualization.style has them, which imports more than the help of this command needs.
STYLES = ('auto', 'skeleton', 'mesh', 'both')
COLOURS = ('auto', 'side', 'person')
BACKGROUNDS = ('image', 'dim', 'white', 'black')
# Where labelling at scale runs, and the pictures of a shard.
PLACES = ('ray', 'local')
SHARD_SIZE = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.epilog = (
        'Exit status: 0 all well, 1 an error, 2 wrong options, 3 some inputs could not be read (they are '
        'named), 4 results could not be written, 130 interrupted (files are finished all the same).'
    )
    parser.add_argument(
        'inputs',
        nargs='*',
        metavar='INPUT',
        help='image, video, folder or pattern; with --on also a tar of images, a list of files (.txt), or an '
        'address (s3://...) of any of these',
    )
    parser.add_argument('--webcam', type=int, metavar='N', help='read camera N, 0 is the first')
    parser.add_argument(
        '--model',
        metavar='NAME',
        help='config file or name, see mmhier models (default: that of the weights, or of the task)',
    )
    parser.add_argument(
        '--task', choices=('pose', 'mesh'), help='what to find, where no model is named (default: pose)'
    )
    parser.add_argument(
        '--weights',
        metavar='WEIGHTS',
        help='name of released weights, file, or address (default: auto, which is pretrained/NAME.pth, then '
        'work_dirs/NAME/, then the released weights of the model)',
    )
    parser.add_argument(
        '--out',
        type=_folder,
        default=Path('work_dirs/infer'),
        metavar='DIR',
        help='with --on also an address (default: %(default)s)',
    )
    parser.add_argument(
        '--overwrite',
        action='store_true',
        help='remove what earlier runs have left in the folder, when this one is complete',
    )
    parser.add_argument(
        '--save',
        metavar='KINDS',
        help='json, npz, parquet, overlay; of mesh models also side, side_each, obj, ply, glb, bvh, usd; or '
        'none (default: json,overlay; with --on json)',
    )
    parser.add_argument('--show', action='store_true', help='show the overlay in a window')
    people = parser.add_argument_group('people')
    people.add_argument('--boxes', metavar='FILE', help='boxes of people: JSON, COCO, or results.json')
    add_detector_option(
        people,
        'or whole_image: one person per image (default: auto, which is yolox-s, or whole_image where that '
        'cannot be had)',
    )
    people.add_argument(
        '--box-threshold', type=float, default=0.3, metavar='S', help='least score (default: %(default)s)'
    )
    people.add_argument(
        '--box-padding',
        type=float,
        metavar='F',
        help="enlarge boxes by this factor (default: the model's own; 1 for HMR2.0)",
    )
    people.add_argument(
        '--detector-stride',
        type=int,
        default=1,
        metavar='N',
        help='detect on every Nth frame, follow between',
    )
    people.add_argument('--track', action='store_true', help='number people through a video')
    people.add_argument('--smooth', action='store_true', help='smooth poses over time; implies --track')
    drawing = parser.add_argument_group('drawing')
    _choice(drawing, '--style', STYLES, 'auto: mesh if the model has one, else skeleton')
    _choice(drawing, '--colours', COLOURS, 'auto: bodies blue but in views from the side')
    _choice(drawing, '--background', BACKGROUNDS, 'of the overlay')
    drawing.add_argument('--draw-boxes', action='store_true', help='draw the boxes, too')
    drawing.add_argument(
        '--score-threshold', type=float, default=0.3, metavar='S', help='of keypoints (default: %(default)s)'
    )
    drawing.add_argument(
        '--line-width', type=float, metavar='PX', help='in pixels (default: follows the size of the person)'
    )
    camera = parser.add_argument_group('camera of mesh models')
    camera.add_argument(
        '--fov',
        type=float,
        metavar='DEGREES',
        help="what the longer side of the picture shows (default: what the photo's EXIF says, else 55)",
    )
    camera.add_argument(
        '--focal', metavar='PIXELS', help="focal length; or 'official', what HMR2.0 assumes for evaluation"
    )
    camera.add_argument(
        '--root',
        choices=('fixed', 'image', 'metric'),
        help='in glb, bvh and usd people move: through the scene (metric), in a plane at one distance '
        '(image), on the spot (fixed) (default: metric)',
    )
    camera.add_argument(
        '--free-feet', action='store_true', help='in glb, bvh and usd feet that stand may slide: for skaters'
    )
    speed = parser.add_argument_group('speed')
    speed.add_argument('--batch-size', type=int, default=8, metavar='N', help='people (default: %(default)s)')
    add_engine_options(speed)
    speed.add_argument('--flip-test', action='store_true', help='average with the mirrored crop')
    many = parser.add_argument_group('very many inputs')
    many.add_argument(
        '--on',
        choices=PLACES,
        help='label in shards, each of which is done once; run again to go on: with the workers of a Ray '
        'cluster (that of RAY_ADDRESS, else this machine), or in this process',
    )
    many.add_argument(
        '--workers', type=int, metavar='N', help='of Ray (default: one per GPU, or per CPU without)'
    )
    many.add_argument('--shard-size', type=int, metavar='N', help=f'pictures (default: {SHARD_SIZE})')
    parser.add_argument(
        '--max-megapixels',
        type=float,
        default=268,
        metavar='N',
        help='pictures with more pixels are not read (default: %(default)s)',
    )
    add_trust_option(parser)
    parser.add_argument('--quiet', action='store_true', help='print nothing but warnings and errors')
    parser.add_argument(
        '--finish', type=Path, metavar='JSONL', help='make JSON and npz of what a killed run has left'
    )


def add_detector_option(parser: argparse._ActionsContainer, rest: str) -> None:
    """What finds people; ``rest`` is what else may be named, and the default."""
    parser.add_argument(
        '--detector',
        metavar='SPEC',
        help='name of a released one (yolox-s ...), FILE.onnx (YOLOX, RTMDet, D-FINE), torchvision, '
        f'mmdet:CONFIG,WEIGHTS, {rest}',
    )


def add_engine_options(parser: argparse._ActionsContainer) -> None:
    """What runs the network, and where."""
    parser.add_argument('--device', default='auto', help='auto, cpu, cuda, cuda:1 (default: %(default)s)')
    parser.add_argument(
        '--engine',
        default='eager',
        help='eager, auto, compile, onnxruntime, openvino, or an exported file (default: %(default)s)',
    )
    parser.add_argument(
        '--precision',
        metavar='P',
        help='fp32; bf16: eager, compile, openvino, .xml, faster on CPUs with AVX512_BF16 or AMX; '
        'auto: bf16 where that is faster and moves nothing much; int8: of a file (default: fp32, or what a '
        'file is exported for)',
    )


def read_focal(text: str | None) -> float | str | None:
    """What ``--focal`` says; a ValueError if it is neither a number nor 'official'."""
    if text in (None, 'official'):
        return text
    try:
        return float(text)
    except ValueError:
        raise ValueError(f'--focal {text}: expected pixels, or official') from None


def _folder(text: str) -> Path | str:
    """A path, or an address, in which a path would make one of two slashes."""
    return text if '://' in text else Path(text)


def _choice(group: argparse._ArgumentGroup, option: str, values: tuple[str, ...], text: str) -> None:
    """An option with a few values, of which the first is the default."""
    listed = f'{", ".join(values)} ({text}; default: %(default)s)'
    metavar = option.removeprefix('--')[0].upper()
    group.add_argument(option, choices=values, default=values[0], metavar=metavar, help=listed)
