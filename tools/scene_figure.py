"""Draw docs/scene.jpg: five people of one scene from the side, by the focal length that is assumed.

    python tools/scene_figure.py docs/scene.jpg

People are synthetic, and stand 3 to 8 m from a camera that shows 55 degrees. What a network would say about
their crops is computed, with errors as real ones have (mmhier.testing.walks); from there on it is inference.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

from mmhier.datasets.synthetic.walking import walk
from mmhier.geometry.scene_camera import FocalChoice, focal_from_fov
from mmhier.inference.inferencer import Inferencer
from mmhier.media.writers import write_image
from mmhier.results.frame_result import FrameResult, Person
from mmhier.testing.walks import Errors, seen_by_network

MODEL = 'swinhmr2_micro_s3_synth'  # for its body and its joints; it has random weights
IMAGE_HW = (540, 960)
# x and distance in metres, heading in degrees.
PEOPLE = ((-0.9, 3.0, 10), (0.7, 4.0, -30), (-0.6, 5.5, 60), (2.2, 6.5, 180), (-3.0, 8.0, 30))
NEW, OFFICIAL = FocalChoice(), FocalChoice(focal='official')
VIEWS = (
    (NEW, 'from the camera', lambda result: result.draw(colours='person')),
    (OFFICIAL, "from the side, HMR2.0's focal length", lambda result: result.draw_side(colours='person')),
    (NEW, 'from the side, 55 degrees', lambda result: result.draw_side(colours='person')),
    (NEW, 'from the side, each', lambda result: result.draw_side(colours='person', each=True)),
)


def main() -> None:
    """Draw it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument('out', type=Path, help='the picture')
    args = parser.parse_args()
    estimator = Inferencer(MODEL, 'random', 'cpu').estimator
    focal, seen = focal_from_fov(IMAGE_HW, 55), []
    for seed, (x, distance, heading) in enumerate(PEOPLE):
        still = walk(
            estimator.body, frames=8, start=(x, distance), heading=heading, focal=focal, image_hw=IMAGE_HW
        )
        seen.append(seen_by_network(still, estimator.body, Errors(), seed)[5])
    pictures = []
    for choice, title, draw in VIEWS:
        estimator.focal = choice
        people = []
        for one in seen:
            (pose,) = estimator.poses(one.outputs, [one.crop], [IMAGE_HW])
            people.append(Person(one.box, pose.keypoints, pose.scores, mesh=pose.mesh))
        depths = [float(person.mesh.transl[2]) for person in people]
        title = f'{title}: {min(depths):.1f} to {max(depths):.1f} m'
        result = FrameResult('photo', 0, IMAGE_HW, people, estimator.keypoint_names, (), estimator.name)
        picture = draw(result)
        cv2.putText(picture, title, (16, 32), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (60, 60, 60), 2, cv2.LINE_AA)
        pictures.append(picture)
    write_image(args.out, np.concatenate([np.concatenate(pictures[row : row + 2], axis=1) for row in (0, 2)]))


if __name__ == '__main__':
    main()
