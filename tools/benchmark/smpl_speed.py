"""Time the layers of SMPL and SMPL-X against the package smplx on the same body, in one process.

The bodies have the published sizes and random content, so no licensed file is needed. SMPL-X: 10 components
of shape and of expression, hands as rotations, 144 joints with the outline of the face. Runs of the two
layers alternate, so that whatever else the machine does hits both; the table gives the median of each and
their ratio. Outputs are compared before anything is timed.

    pip install --no-deps smplx
    python tools/benchmark/smpl_speed.py --batches 1 64 --out smpl_speed.csv
    python tools/benchmark/smpl_speed.py --model smplx --out smplx_speed.csv
"""

import argparse
import csv
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from turns import medians

from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smpl_file import PARENTS, ROOT_PARENT, body_from_arrays, read_smpl_npz
from mmhier.body_models.smplx import SMPLX
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.testing.smplx_file import write_smplx_npz

FIELDS = ('model', 'batch', 'mode', 'device', 'threads', 'smplx_ms', 'mmhier_ms', 'ratio', 'max_diff')
NUM_VERTICES, NUM_FACES, NUM_JOINTS, NUM_BETAS = 6890, 13776, 24, 10


def random_body(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Arrays with the names and shapes of a SMPL file."""
    weights = rng.dirichlet(np.full(NUM_JOINTS, 0.1), NUM_VERTICES)
    return {
        'v_template': rng.normal(size=(NUM_VERTICES, 3)) * 0.5,
        'shapedirs': rng.normal(size=(NUM_VERTICES, 3, NUM_BETAS)) * 0.02,
        'posedirs': rng.normal(size=(NUM_VERTICES, 3, 9 * (NUM_JOINTS - 1))) * 0.005,
        'weights': weights,
        'J_regressor': rng.dirichlet(np.full(NUM_VERTICES, 0.01), NUM_JOINTS),
        'kintree_table': np.stack([[ROOT_PARENT, *PARENTS[1:]], np.arange(NUM_JOINTS)]),
        'f': rng.integers(0, NUM_VERTICES, (NUM_FACES, 3)),
    }


# Model -> joints of each part of its pose.
POSE = {
    'smpl': {'body_pose': NUM_JOINTS - 1, 'global_orient': 1},
    'smplx': {
        'body_pose': 21, 'global_orient': 1, 'left_hand_pose': 15, 'right_hand_pose': 15, 'jaw_pose': 1,
        'leye_pose': 1, 'reye_pose': 1,
    },
}  # fmt: skip


def build(model: str, device: str) -> tuple[nn.Module, nn.Module]:
    """Build both layers on the same body."""
    try:
        import smplx
        from smplx.utils import Struct
    except ImportError as error:
        raise SystemExit('This comparison needs: pip install --no-deps smplx') from error
    if model == 'smplx':
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'SMPLX_NEUTRAL.npz'
            write_smplx_npz(path)
            theirs = smplx.SMPLXLayer(
                str(path), num_betas=NUM_BETAS, num_expression_coeffs=NUM_BETAS, use_face_contour=True
            )
            return theirs.to(device), SMPLX(read_smpl_npz(path)).to(device)
    arrays = random_body(np.random.default_rng(0))
    theirs = smplx.SMPLLayer('', data_struct=Struct(**arrays), num_betas=NUM_BETAS)
    ours = SMPL(body_from_arrays(arrays, 'random body'), joints='openpose25')
    return theirs.to(device), ours.to(device)


def step(layer: nn.Module, pose: dict[str, Tensor], mode: str) -> Callable[[], Tensor]:
    """Return what is timed: a forward pass, or a forward and a backward pass to shape and pose."""

    def infer() -> Tensor:
        with torch.inference_mode():
            return layer(**pose).vertices

    leaves = {name: value.clone().requires_grad_() for name, value in pose.items()}

    def train() -> Tensor:
        for leaf in leaves.values():
            leaf.grad = None
        vertices = layer(**leaves).vertices
        vertices.square().mean().backward()
        return vertices.detach()

    return infer if mode == 'infer' else train


def main() -> None:
    """Print the table and write it as CSV."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--model', default='smpl', choices=list(POSE))
    parser.add_argument('--batches', nargs='+', type=int, default=[1, 64])
    parser.add_argument('--modes', nargs='+', default=['infer', 'train'], choices=['infer', 'train'])
    parser.add_argument('--runs', type=int, default=60)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--out', type=Path, default=Path('smpl_speed.csv'))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    layers = build(args.model, args.device)
    print(' '.join(f'{field:>9}' for field in FIELDS))
    with args.out.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(FIELDS)
        for batch in args.batches:
            pose = {
                name: axis_angle_to_matrix(0.5 * torch.randn(batch, joints, 3))
                for name, joints in POSE[args.model].items()
            }
            pose |= {'betas': torch.randn(batch, NUM_BETAS), 'transl': torch.randn(batch, 3)}
            if args.model == 'smplx':
                pose['expression'] = torch.randn(batch, NUM_BETAS)
            pose = {name: value.to(args.device) for name, value in pose.items()}
            for mode in args.modes:
                steps = [step(layer, pose, mode) for layer in layers]
                difference = (steps[0]() - steps[1]()).abs().max().item()
                theirs, ours = medians(steps, args.runs, args.device)
                row = (
                    *(args.model, batch, mode, args.device, args.threads),
                    *(
                        f'{theirs * 1e3:.3f}',
                        f'{ours * 1e3:.3f}',
                        f'{theirs / ours:.2f}',
                        f'{difference:.1e}',
                    ),
                )
                writer.writerow(row)
                print(' '.join(f'{value!s:>9}' for value in row))


if __name__ == '__main__':
    main()
