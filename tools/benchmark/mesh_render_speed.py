"""Time the mesh renderer: open bodies in random poses side by side, overlay and side view, one process.

OMP_NUM_THREADS=1 python tools/benchmark/mesh_render_speed.py --people 3 --size 640 480
"""

import argparse
import statistics
import time

import numpy as np

from mmhier.body_models.open_body import load_open_body
from mmhier.body_models.skinning import pose_body
from mmhier.body_models.smpl_file import BodyModelData
from mmhier.datasets.synthetic.poses import sample_pose
from mmhier.visualization.mesh_renderer import render_people, side_view

FACING = np.diag([1.0, -1.0, -1.0])  # the body's frame to that of a camera which it faces


def line_up(model: BodyModelData, count: int, rng: np.random.Generator) -> np.ndarray:
    """Bodies (P, V, 3) in a row, 0.9 m apart; it fits the image when the focal length is the height."""
    bodies = []
    for index in range(count):
        rotations = sample_pose(rng, lying_chance=0.0).rotations
        rotations[0] = FACING @ rotations[0]
        place = np.array([0.9 * (index - (count - 1) / 2), 0.1, max(2.4, 0.7 * count) + 0.3 * index])
        bodies.append(pose_body(model, rotations, transl=place).vertices)
    return np.stack(bodies)


def main() -> None:
    """Measure and print a line per setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('--people', type=int, nargs='+', default=[1, 3, 10])
    parser.add_argument('--size', type=int, nargs=2, default=[640, 480], metavar=('W', 'H'))
    parser.add_argument('--supersampling', type=int, nargs='+', default=[1, 2, 3])
    parser.add_argument('--rounds', type=int, default=7)
    args = parser.parse_args()
    (width, height), model = args.size, load_open_body()
    image = np.full((height, width, 3), 255, np.uint8)
    print(f'{len(model.v_template)} vertices, {len(model.faces)} triangles per person, {width}x{height}')
    for count in args.people:
        vertices = line_up(model, count, np.random.default_rng(0))
        for samples in args.supersampling:
            overlay, side = [], []
            for _ in range(args.rounds):
                start = time.perf_counter()
                center = (width / 2, height / 2)
                render_people(image, vertices, model.faces, height, center, supersampling=samples)
                middle = time.perf_counter()
                side_view(vertices, model.faces, height, (height, width), supersampling=samples)
                overlay.append(middle - start)
                side.append(time.perf_counter() - middle)
            times = ', '.join(
                f'{name} {1000 * statistics.median(values):.0f} ms'
                for name, values in (('overlay', overlay), ('side view', side))
            )
            print(f'{count} people, {samples}x{samples} samples per pixel: {times}', flush=True)


if __name__ == '__main__':
    main()
