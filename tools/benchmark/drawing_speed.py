"""Time drawing on one core: bodies and skeletons over a picture, bodies from the side, with and without C++.

Open bodies (13,380 vertices, twice those of SMPL) in random poses stand in a row; alone, somebody fills most
of the picture's height. Times are those of the processor, one thread, medians, without decoding and encoding.

    OMP_NUM_THREADS=1 python tools/benchmark/drawing_speed.py --out docs/benchmarks/drawing.csv
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from rows import add_rows

from mmhier.body_models.open_body import load_open_body
from mmhier.body_models.skinning import pose_body
from mmhier.body_models.smpl_file import COCO17_NAMES, BodyModelData
from mmhier.datasets.synthetic.dataset_format import SKELETON
from mmhier.datasets.synthetic.poses import sample_pose
from mmhier.rasterizer import native
from mmhier.tables import markdown
from mmhier.visualization.mesh_renderer import render_people, side_view
from mmhier.visualization.skeleton import draw_skeleton

FACING = np.diag([1.0, -1.0, -1.0])  # the body's frame to that of a camera which it faces
SIZES = ((640, 424), (4032, 3024))
FIELDS = ('picture', 'width', 'height', 'people', 'loops', 'ms', 'per_second')


def line_up(model: BodyModelData, count: int, rng: np.random.Generator) -> np.ndarray:
    """Bodies (P, V, 3) in a row, 0.9 m apart; it fits the image when the focal length is the height."""
    bodies = []
    for index in range(count):
        rotations = sample_pose(rng, lying_chance=0.0).rotations
        rotations[0] = FACING @ rotations[0]
        place = np.array([0.9 * (index - (count - 1) / 2), 0.1, max(2.0, 0.7 * count) + 0.3 * index])
        bodies.append(pose_body(model, rotations, transl=place).vertices)
    return np.stack(bodies)


def pictures(
    model: BodyModelData, count: int, size_wh: tuple[int, int]
) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is timed, by name."""
    width, height = size_wh
    vertices = line_up(model, count, np.random.default_rng(0))
    image = np.full((height, width, 3), 128, np.uint8)
    yield 'overlay', lambda: render_people(image, vertices, model.faces, height, (width / 2, height / 2))
    yield 'side', lambda: side_view(vertices, model.faces, height, (height, width))
    rng = np.random.default_rng(1)
    links = [(a - 1, b - 1) for a, b in SKELETON]
    keypoints = rng.uniform(0.2, 0.8, (count, len(COCO17_NAMES), 2)) * size_wh

    def skeletons() -> None:
        canvas = image.copy()
        for points in keypoints:
            draw_skeleton(canvas, points, np.ones(len(points)), COCO17_NAMES, links)

    yield 'skeletons', skeletons


def median(call: Callable[[], object], rounds: int) -> float:
    """Seconds of one core."""
    call()
    spent = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return statistics.median(spent)


def main() -> None:
    """Measure and print a line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--people', type=int, nargs='+', default=[1, 5])
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--out', type=Path, help='CSV file to write')
    args = parser.parse_args()
    cv2.setNumThreads(1)
    model, rows = load_open_body(), []
    loops = {'c++': native.library(), 'numpy': None}
    for size_wh in SIZES:
        for count in args.people:
            for name, call in pictures(model, count, size_wh):
                for loop, library in loops.items():
                    if name == 'skeletons':
                        if loop != 'numpy':
                            continue
                        loop = 'opencv'
                    elif loop == 'c++' and library is None:
                        continue
                    native.library = lambda library=library: library
                    seconds = median(call, args.rounds)
                    rows.append((name, *size_wh, count, loop, f'{1e3 * seconds:.1f}', f'{1 / seconds:.1f}'))
    print(markdown(FIELDS, [tuple(map(str, row)) for row in rows]))
    if args.out:
        args.out.unlink(missing_ok=True)
        add_rows(args.out, FIELDS, rows)


if __name__ == '__main__':
    main()
