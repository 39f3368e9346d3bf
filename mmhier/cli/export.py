"""``mmhier export``: write a model for other runtimes, with a proof that it computes the same."""

import argparse
from pathlib import Path

from mmhier.cli.numbers import positive
from mmhier.cli.out import check_out_file
from mmhier.cli.trust import add_trust_option, apply_trust

FORMATS = ('onnx', 'torchscript', 'exported-program', 'openvino')
INPUTS = ('normalised', 'rgb-float', 'rgb-uint8')
PRECISIONS = ('fp32', 'fp16', 'bf16', 'int8')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument('config', help='config file or name, see mmhier models')
    parser.add_argument(
        'checkpoint',
        nargs='?',
        default='auto',
        help='file, address, or name of released weights; random: for timing (default: auto, as for '
        'mmhier infer)',
    )
    parser.add_argument('--format', choices=FORMATS, help='default: what --out ends in, else onnx')
    parser.add_argument('--out', type=Path, help='file (default: <config>.<ending of the format>)')
    parser.add_argument('--dynamic-batch', action='store_true', help='take any number of images at a time')
    parser.add_argument('--fp16', action='store_true', help='half precision, as --precision fp16')
    parser.add_argument(
        '--int8', type=Path, metavar='DIR', help='int8, with ranges chosen by crops of the images in DIR'
    )
    parser.add_argument(
        '--precision',
        choices=PRECISIONS,
        help='default: fp32. bf16: an OpenVINO file that mmhier infer runs in bfloat16; int8 needs --int8',
    )
    parser.add_argument('--decode', action='store_true', help='pose: keypoints instead of heatmaps')
    parser.add_argument(
        '--vertices', action='store_true', help='mesh: vertices, with the body model inside of the file'
    )
    parser.add_argument(
        '--input',
        choices=INPUTS,
        default='normalised',
        help='what the file takes (default: normalised images); rgb-*: 0 to 255',
    )
    parser.add_argument(
        '--crops',
        type=Path,
        metavar='DIR',
        help='images of people to compare on (default: those of --int8, else rendered synthetic people)',
    )
    parser.add_argument(
        '--boxes',
        type=Path,
        metavar='JSON',
        help='person boxes of these images in the format of COCO (default: each image is one person)',
    )
    parser.add_argument('--num-crops', type=positive, default=32, help='crops to use (default: 32)')
    parser.add_argument(
        '--bound', type=float, help='largest mean difference that passes, in pixels or millimetres'
    )
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Export, compare and say so."""
    precision = _precision(args)
    apply_trust(args)
    from mmhier.deploy.formats import ENDINGS

    format = _format(args, ENDINGS)
    import torch

    from mmhier.deploy import export_model
    from mmhier.inference.estimators import load_estimator
    from mmhier.inference.sample_crops import read_crops

    estimator = load_estimator(args.config, args.checkpoint, 'cpu')
    path = args.out or Path(estimator.name + ENDINGS[format])
    images, source = read_crops(estimator, args.crops or args.int8, args.boxes, args.num_crops)
    if args.checkpoint == 'random' and hasattr(estimator.model.head, 'final_layer'):
        torch.nn.init.normal_(estimator.model.head.final_layer.weight)  # heatmaps with peaks to compare
    calibration = None
    if args.int8:
        same = args.crops in (None, args.int8)
        calibration = images if same else read_crops(estimator, args.int8, args.boxes, args.num_crops)[0]
    parity = export_model(
        estimator.model,
        images,
        path,
        format,
        decode=args.decode,
        vertices=args.vertices,
        inputs=args.input,
        dynamic_batch=args.dynamic_batch,
        precision='float32' if precision == 'fp32' else precision,
        calibration=calibration,
        bound=args.bound,
        source=source,
        metadata=dict(config=estimator.name, keypoint_names=list(estimator.keypoint_names)),
    )
    files = {path, path.with_suffix('.bin')} if format == 'openvino' else {path}
    size = sum(file.stat().st_size for file in files)
    print(f'{path} ({size / 1e6:.1f} MB) computes what the model computes: {parity}')
    print(f'What it takes and returns, and this comparison, stand in {path}.json')
    return 0


def _precision(args: argparse.Namespace) -> str:
    """The precision that is meant.

    Raises:
        ValueError: If options contradict each other, or int8 has no images.
    """
    if args.fp16 and args.int8:
        raise ValueError('--fp16 and --int8 exclude each other')
    named = 'int8' if args.int8 else 'fp16' if args.fp16 else None
    if args.precision and named and args.precision != named:
        raise ValueError(f'--precision {args.precision} and --{named} exclude each other')
    precision = args.precision or named or 'fp32'
    if precision == 'int8' and not args.int8:
        raise ValueError('--precision int8 needs images to choose ranges by: --int8 DIR')
    return precision


def _format(args: argparse.Namespace, endings: dict[str, str]) -> str:
    """The format that is meant, before a model is loaded for nothing.

    Raises:
        ValueError: If name and options do not fit each other.
    """
    if args.out is None:
        format = args.format or 'onnx'
    else:
        check_out_file(args.out, '--out')
        named = {ending: name for name, ending in endings.items()}.get(args.out.suffix)
        format = args.format or named
        if format is None or format != named:
            wanted = f'--format {format} writes {endings[format]}' if format else 'no format is called that'
            listed = ', '.join(f'{ending} ({name})' for name, ending in endings.items())
            raise ValueError(
                f'--out {args.out} ends in {args.out.suffix or "nothing"}, but {wanted}: {listed}'
            )
    if args.int8 and format not in ('onnx', 'openvino'):
        raise ValueError(f'--int8 is for the formats onnx and openvino, not {format}')
    if args.precision == 'bf16' and format != 'openvino':
        raise ValueError(f'--precision bf16 is for the format openvino, not {format}')
    return format
