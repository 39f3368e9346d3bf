"""Make the npz file of a benchmark of mesh recovery from the original files of its data set.

python tools/prepare/benchmark_to_npz.py coco data/coco/annotations/person_keypoints_val2017.json
python tools/prepare/benchmark_to_npz.py posetrack data/posetrack/posetrack2018/posetrack_data/annotations/val
python tools/prepare/benchmark_to_npz.py lsp-extended data/hr-lspet
python tools/prepare/benchmark_to_npz.py 3dpw data/3DPW/sequenceFiles/test
python tools/prepare/benchmark_to_npz.py emdb data/EMDB --boxes joints

The files lie where configs/_base_/datasets/hmr_eval.py and hmr_emdb.py expect them. 3DPW and EMDB need SMPL
(male and female) and SMPL_to_J19.pkl: mmhier body-model setup FILE_OR_ZIP.

Not derived: Human3.6M-val P2. Its bodies are MoSh fits that the data set does not contain; use
h36m_val_p2.npz of HMR2.0's evaluation data, which is read as it is.
"""

import argparse
import sys
from functools import partial
from pathlib import Path

from mmhier.body_models.model_directory import load_body_model
from mmhier.datasets.mesh.benchmark_bodies import BOX_SOURCES, read_3dpw, read_emdb
from mmhier.datasets.mesh.benchmark_images import MIN_LIMBS, read_coco, read_lsp_extended, read_posetrack
from mmhier.datasets.mesh.benchmark_people import BenchmarkPeople
from mmhier.datasets.mesh.writer import BOX_PADDING

FILES = {
    'coco': 'coco_val.npz',
    'posetrack': 'posetrack_2018_val.npz',
    'lsp-extended': 'hr-lspet_train.npz',
    '3dpw': '3dpw_test.npz',
    'emdb': 'emdb_1_{boxes}_boxes.npz',
}


def main(arguments: list[str] | None = None) -> int:
    """Write the file and print who was left out; the exit status is 1 if something is wrong."""
    args = _parser().parse_args(arguments)
    out = args.out or Path('data/hmr2_evaluation_data', FILES[args.benchmark].format(**vars(args)))
    try:
        people = _read(args)
        out.parent.mkdir(parents=True, exist_ok=True)
        people.write(out, args.padding)
    except (ValueError, OSError) as error:
        print(f'{args.benchmark}: {error}', file=sys.stderr)
        return 1
    print(people.summary())
    if args.benchmark == 'coco':
        print(
            'HMR2.0 does not say how its coco_val.npz chooses people; this is the rule of SPIN (--min-limbs)'
        )
    print(f'{out}: {len(people.imgname)} people, boxes enlarged by {args.padding:g}')
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    benchmarks = parser.add_subparsers(dest='benchmark', required=True, metavar='BENCHMARK')
    for name, text in FILES.items():
        part = benchmarks.add_parser(name, help=f'writes {text}')
        part.add_argument('source', type=Path, help='file or folder of the data set, see above')
        part.add_argument('--out', type=Path, help='the npz file; default: in data/hmr2_evaluation_data')
        part.add_argument('--padding', type=float, default=BOX_PADDING, help='factor on the boxes')
        if name in ('coco', 'posetrack'):
            part.add_argument(
                '--min-limbs', type=int, default=MIN_LIMBS, help='of 12 joints from shoulders to ankles'
            )
        if name == 'coco':
            part.add_argument('--image-folder', default='val2017', help='put before the names of images')
        if name == 'lsp-extended':
            part.add_argument(
                '--visible-only', action='store_true', help='leave out hidden joints; HMR2.0 judges them'
            )
        if name == 'emdb':
            part.add_argument('--boxes', choices=BOX_SOURCES, required=True)
        if name in ('3dpw', 'emdb'):
            for gender in ('male', 'female', 'neutral'):
                part.add_argument(f'--{gender}', default=gender, help='body model file; default: installed')
    return parser


def _read(args: argparse.Namespace) -> BenchmarkPeople:
    if args.benchmark == 'coco':
        return read_coco(args.source, args.image_folder, args.min_limbs)
    if args.benchmark == 'posetrack':
        return read_posetrack(args.source, args.min_limbs)
    if args.benchmark == 'lsp-extended':
        return read_lsp_extended(args.source, args.visible_only)
    load_body = partial(_load_body, args)
    if args.benchmark == '3dpw':
        return read_3dpw(args.source, load_body)
    return read_emdb(args.source, load_body, args.boxes)


def _load_body(args: argparse.Namespace, gender: str):
    return load_body_model(getattr(args, gender), 'hmr44')


if __name__ == '__main__':
    sys.exit(main())
