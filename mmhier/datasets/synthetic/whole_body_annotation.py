"""The truth about body, hands and face of a person: parameters, points and boxes of the visible parts.

Letters: V vertices of the body, F triangles of the render mesh, M vertices of which points are made.

Convention: camera frame and pixel coordinates of :mod:`.camera`. Points and parameters are those of the bare
body, whether seen or not.
"""

import numpy as np

from mmhier.body_models.joint_sets import GROUP_NAMES, JOINT_SETS
from mmhier.body_models.skinning import forward_kinematics, skin
from mmhier.body_models.smpl_file import PARTS, SMPLX_JOINT_NAMES, BodyModelData
from mmhier.datasets.synthetic.camera import SUPERSAMPLING, Camera
from mmhier.datasets.synthetic.people import BodyKit, Person
from mmhier.geometry.array_rotations import matrix_to_axis_angle
from mmhier.rasterizer import FrameBuffer, project

NUM_POINTS = len(JOINT_SETS['smplx144'])
NECK, MAX_TURN = SMPLX_JOINT_NAMES.index('neck'), 39
# A part is seen if its box has sides of so many pixels and so much of the box is the part.
MIN_SIDE, MIN_FILLED = 5.0, 0.15


class WholeBodyKit:
    """What the truth about hands and face needs of a body.

    Args:
        kit: the body; :attr:`BodyKit.is_whole` must be True.
    """

    def __init__(self, kit: BodyKit) -> None:
        model = kit.model
        self.regressor = np.concatenate([model.regressors[name] for name in ('surface', 'tips', 'face')])
        on_points = np.flatnonzero(self.regressor.any(axis=0))
        self.vertices = np.union1d(on_points, model.contour_vertices.ravel())
        self.regressor = self.regressor[:, self.vertices]
        self.contour = np.searchsorted(self.vertices, model.contour_vertices)
        self.weights = model.weights[self.vertices]
        self.template = model.v_template[self.vertices]
        self.directions = kit.directions(self.vertices)
        self.part_of_face = _parts_of_faces(kit)


def whole_body_truth(
    number: int, person: Person, buffer: FrameBuffer, camera: Camera, kit: BodyKit, whole: WholeBodyKit
) -> dict[str, np.ndarray]:
    """Everything of a person that :data:`.human_data_format.HUMAN_SHAPES` names, but the camera.

    Args:
        number: object number of the person.
        person: the person.
        buffer: the rasterised scene.
        camera: the camera.
        kit: the body.
        whole: the same body.
    """
    model = kit.model
    rotations = person.pose.rotations.astype(np.float64)
    rotations[0] = camera.rotation @ person.root
    components = np.concatenate([person.betas, person.expression])
    rest = model.joint_template + kit.joint_directions @ components
    world, joints = forward_kinematics(rotations[None], rest[None].astype(np.float64), model.parents)
    transl = camera.to_camera(person.joints[0]) - rest[0]
    plain = whole.template + whole.directions @ components
    vertices = skin(whole.weights, plain[None], world, rest[None], joints)[0]
    corners = whole.contour[_contour_row(world[0, NECK])]
    outline = (vertices[corners] * model.contour_weights[_contour_row(world[0, NECK])][..., None]).sum(axis=1)
    points = np.concatenate([joints[0], whole.regressor @ vertices, outline]) + transl
    ones = np.ones((len(points), 1))
    pose = matrix_to_axis_angle(rotations)
    hands = pose[25:].reshape(2, 15, 3) - model.hand_means.reshape(2, 15, 3)
    return {
        'global_orient': pose[0],
        'body_pose': pose[1:22],
        'jaw_pose': pose[22],
        'leye_pose': pose[23],
        'reye_pose': pose[24],
        'left_hand_pose': hands[0],
        'right_hand_pose': hands[1],
        'betas': person.betas,
        'expression': person.expression,
        'transl': transl,
        'keypoints2d': np.concatenate([project(points, camera.intrinsics)[:, :2], ones], axis=1),
        'keypoints3d': np.concatenate([points, ones], axis=1),
        **part_boxes(number, buffer, whole),
    }


def part_boxes(number: int, buffer: FrameBuffer, whole: WholeBodyKit) -> dict[str, np.ndarray]:
    """Boxes (5,) of what is seen of hands and face: left, top, width, height, and 1; or zeros."""
    width = buffer.image_hw[1]
    pixels = np.flatnonzero(buffer.objects == number)
    part_of_pixel = whole.part_of_face[buffer.faces[pixels]]
    boxes = {}
    for part, name in enumerate(PARTS, start=1):
        own = pixels[part_of_pixel == part]
        box = np.zeros(5)
        if len(own):
            sides = np.stack([own % width, own // width])
            low, high = sides.min(axis=1) / SUPERSAMPLING, (sides.max(axis=1) + 1) / SUPERSAMPLING
            size = high - low
            filled = len(own) / SUPERSAMPLING**2 / size.prod()
            if size.min() >= MIN_SIDE and filled >= MIN_FILLED:
                box = np.array([*(low - 0.5), *size, 1.0])
        boxes[f'{name}_box'] = box
    return boxes


def _contour_row(neck: np.ndarray) -> int:
    """Row of the outline's table for the rotation (3, 3) of a neck, as in :mod:`mmhier.body_models.smplx`."""
    degrees = np.degrees(np.arctan2(neck[2, 0], np.hypot(neck[0, 0], neck[1, 0])))
    degrees = int(np.clip(np.round(degrees), -MAX_TURN, MAX_TURN))
    return MAX_TURN - degrees if degrees < 0 else degrees


def _parts_of_faces(kit: BodyKit) -> np.ndarray:
    """(F,) 1 + number of the part that a triangle belongs to, or 0; of the head only the face does."""
    model: BodyModelData = kit.model
    part = np.zeros(len(model.v_template), np.int64)
    for number, name in enumerate(PARTS, start=1):
        part[model.parts[name]] = number
    face51 = model.regressors['face'] @ model.v_template
    outline = model.v_template[model.contour_vertices[0, :, 0]]
    brow = face51[GROUP_NAMES['face'].index('left_brow3'), 1]
    front = (model.v_template[:, 2] > outline[0, 2]) & (model.v_template[:, 1] < brow + 0.015)
    part[(part == 1 + PARTS.index('face')) & ~front] = 0
    corners = part[model.render_vertices][kit.faces]
    return np.where((corners == corners[:, :1]).all(axis=1), corners[:, 0], 0)
