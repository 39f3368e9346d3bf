"""Command line of the generator: ``mmhier synth OUT --train N --val M --seed S``."""

import argparse
from pathlib import Path

from mmhier.safe_files import read_json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``mmhier synth``."""
    parser.description = 'Render a COCO-format keypoint data set of synthetic people, with SMPL parameters.'
    parser.add_argument('out', type=Path, help='folder of the data set')
    parser.add_argument(
        '--train', type=_count, default=3000, metavar='N', help='training images (default: %(default)s)'
    )
    parser.add_argument(
        '--val', type=_count, default=400, metavar='M', help='validation images (default: %(default)s)'
    )
    parser.add_argument(
        '--seed', type=_count, default=0, metavar='S', help='same seed, same bytes (default: %(default)s)'
    )
    parser.add_argument(
        '--image-size',
        type=_size,
        default=(320, 256),
        metavar='WxH',
        help='image size in pixels (default: 320x256)',
    )
    parser.add_argument(
        '--scenes',
        choices=('varied', 'simple'),
        default='varied',
        help='simple: one person per image, facing the camera, nothing in front (default: %(default)s)',
    )
    parser.add_argument(
        '--whole-body',
        action='store_true',
        help='people with fingers, jaws, eyes and expressions, seen from closer; writes HumanData for '
        "SMPLer-X's models instead of SMPL parameters",
    )
    parser.add_argument(
        '--workers', type=_count, default=None, help='processes (default: number of CPU cores)'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace a data set made with other parameters'
    )


def run(args: argparse.Namespace) -> int:
    """Make the data set; returns the exit status."""
    from mmhier.datasets.synthetic.generator import generate

    made = generate(
        args.out,
        args.train,
        args.val,
        args.seed,
        args.image_size,
        args.scenes,
        args.workers,
        args.overwrite,
        whole_body=args.whole_body,
    )
    people = {}
    for split in ('train', 'val'):
        coco = read_json(args.out / 'annotations' / f'person_keypoints_{split}.json')
        people[split] = f'{len(coco["annotations"])} people in {len(coco["images"])} {split} images'
    print(f'{"Made" if made else "Reused"} {args.out}: {people["train"]}, {people["val"]}.')
    return 0


def _count(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'expected a number >= 0, got {text}')
    return value


def _size(text: str) -> tuple[int, int]:
    try:
        width, height = (int(part) for part in text.lower().split('x'))
    except ValueError:
        raise argparse.ArgumentTypeError(f'expected WxH such as 320x256, got {text!r}') from None
    if not (32 <= width <= 4096 and 32 <= height <= 4096):
        raise argparse.ArgumentTypeError(f'width and height must lie in 32..4096, got {text}')
    return width, height
