"""How far motions are from synthetic walks whose truth is known, over many seeds, lens known or not.

The walks are those of mmhier/datasets/synthetic/walking.py, through a network whose errors are drawn; how
large they are is assumed (mmhier/testing/walks.py). Each is seen by a camera whose focal length is given,
and by two whose lens nobody tells: 35 and 78 degrees, where 55 are assumed. Of each clip: what each frame
says alone, what --smooth makes of it frame by frame, and what animated files hold.

    OMP_NUM_THREADS=1 python tools/benchmark/walk_motion.py --out docs/benchmarks/walk_motion.csv
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from rows import add_rows

from mmhier.apis import Inferencer
from mmhier.datasets.synthetic.walking import WALKS, walk
from mmhier.geometry.scene_camera import FocalChoice, focal_from_fov
from mmhier.inference.estimators import MeshEstimator
from mmhier.results.frame_result import BodyMesh
from mmhier.results.motions import MotionRecorder
from mmhier.tables import markdown
from mmhier.testing.walks import Errors, MotionErrors, compare, follow, seen_by_network

IMAGE_HW = (720, 1280)
KNOWN = 1250.0  # pixels
# Focal length of the camera, and what is said about it.
LENSES = {
    'known': (KNOWN, FocalChoice(focal=KNOWN)),
    '35 degrees': (focal_from_fov(IMAGE_HW, 35.0), FocalChoice()),
    '78 degrees': (focal_from_fov(IMAGE_HW, 78.0), FocalChoice()),
}
SETTLED_S = 0.5  # from then on --smooth has seen enough
WRONG_SLIDE = 0.03  # metres
FIELDS = (
    'lens',
    'walk',
    'seed',
    'way',
    'depth_percent',
    'step_cm',
    'settled_step_cm',
    'slide_cm',
    'spells',
    'spells_above_3cm',
)


def frames_as_they_are(meshes: Sequence[BodyMesh]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotations (T, J, 3, 3), translations (T, 3) and shapes (T, B)."""
    rotations = np.stack([np.concatenate([mesh.global_orient, mesh.body_pose]) for mesh in meshes])
    return rotations, np.stack([mesh.transl for mesh in meshes]), np.stack([mesh.betas for mesh in meshes])


def ways(estimator: MeshEstimator, name: str, focal: float, seed: int) -> Iterator[tuple[str, MotionErrors]]:
    """The errors of each way for one clip."""
    body = estimator.body
    truth = walk(body, focal=focal, image_hw=IMAGE_HW, **WALKS[name])
    seen = seen_by_network(truth, body, Errors(), seed)
    plain, smooth = (follow(estimator, truth, seen, choice) for choice in (False, True))
    for way, results in (('alone', plain), ('smooth', smooth)):
        meshes = [result.people[0].mesh for result in results]
        yield way, compare(body, truth, *frames_as_they_are(meshes))
    recorder = MotionRecorder()
    for result in plain:
        recorder.add(result)
    (motion,) = recorder.motions()
    yield 'animation', compare(body, truth, motion.rotations, motion.transl, motion.betas)


def main() -> None:
    """Measure and print the largest errors of each lens and way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--seeds', type=int, default=12, help='how many, from 0 on')
    parser.add_argument('--lenses', nargs='+', choices=LENSES, default=list(LENSES))
    parser.add_argument('--out', type=Path, help='CSV file to add the rows to')
    args = parser.parse_args()
    estimator = Inferencer('swinhmr2_micro_s3_synth', weights='random').estimator
    rows = []
    for lens in args.lenses:
        focal, estimator.focal = LENSES[lens]
        for seed in range(args.seeds):
            for name in WALKS:
                for way, found in ways(estimator, name, focal, seed):
                    settled = found.steps[round(SETTLED_S * 30) :]
                    slides = np.array(found.slides)
                    figures = (100 * found.depth, *(100 * x.max() for x in (found.steps, settled, slides)))
                    counts = len(slides), int((slides > WRONG_SLIDE).sum())
                    rows.append((lens, name, seed, way, *(f'{x:.2f}' for x in figures), *counts))
    table = []
    for lens in args.lenses:
        for way in dict.fromkeys(row[3] for row in rows):
            of_way = [row for row in rows if (row[0], row[3]) == (lens, way)]
            largest = [max(float(row[column]) for row in of_way) for column in range(4, 8)]
            spells, wrong = (sum(row[column] for row in of_way) for column in (8, 9))
            table.append((lens, way, *(f'{value:.1f}' for value in largest), str(spells), str(wrong)))
    print(markdown((*FIELDS[:1], *FIELDS[3:]), table))
    if args.out:
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
