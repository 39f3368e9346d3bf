"""A clip of somebody who walks: pictures, and the boxes of what is seen of the person.

Outfit, light, background and the camera's noise are the same in all frames.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mmhier.datasets.synthetic.annotation import annotate
from mmhier.datasets.synthetic.appearance import sample_outfit
from mmhier.datasets.synthetic.camera import Camera
from mmhier.datasets.synthetic.people import BodyKit
from mmhier.datasets.synthetic.poses import Pose
from mmhier.datasets.synthetic.rendering import draw_scene, shade_scene
from mmhier.datasets.synthetic.scene import Scene
from mmhier.datasets.synthetic.walking import Walk

# The level camera's axes in the world, see mmhier/datasets/synthetic/camera.py.
_LEVEL = np.diag([-1.0, -1.0, 1.0])


class ClipFrame(NamedTuple):
    """(H, W, 3) uint8 BGR picture, and the box (1, 4) of the person: left, top, right, bottom, pixels."""

    image: np.ndarray
    boxes: np.ndarray


def render_walk(kit: BodyKit, walk: Walk, seed: int = 0) -> Iterator[ClipFrame]:
    """Render a walk before a level camera (``pitch`` 0), whose pelvis is that of the mean body.

    Args:
        kit: The body.
        walk: Where the joints are.
        seed: Of outfit, shape, light and background.
    """
    rng = np.random.default_rng(seed)
    outfit = sample_outfit(rng, kit.marks)
    betas = rng.normal(0.0, 0.5, kit.model.num_betas)
    height, width = walk.image_hw
    intrinsics = np.array([[walk.focal, 0, (width - 1) / 2], [0, walk.focal, (height - 1) / 2], [0, 0, 1]])
    camera = Camera(_LEVEL, np.array([0.0, walk.floor[3], 0.0]), intrinsics, walk.image_hw)
    for rotations, transl in zip(walk.rotations, walk.transl, strict=True):
        rotations = rotations.copy()
        rotations[0] = _LEVEL.T @ rotations[0]
        person = kit.build(Pose(np.zeros((len(rotations), 3)), rotations, 'stride'), betas, outfit, yaw=0.0)
        pelvis = _LEVEL.T @ (transl + kit.model.joint_template[0])
        shift = [pelvis[0] - person.joints[0, 0], 0.0, pelvis[2] - person.joints[0, 2]]
        person = person.moved(np.array(shift, np.float32))
        scene = Scene(camera, [person], [], float(walk.transl[:, 2].max()))
        buffer = draw_scene(scene, kit)
        image = shade_scene(np.random.default_rng(seed), scene, kit, buffer)
        seen = annotate(0, person, buffer, camera, kit)
        boxes = np.zeros((0, 4)) if seen is None else np.asarray(seen.bbox, float)[None]
        boxes[:, 2:] += boxes[:, :2]
        yield ClipFrame(image, boxes)
