"""What a network would say about people who walk, of which the truth is known: for tests.

What the network says is the truth with errors that are drawn at random; how large they are is assumed, see
:class:`Errors`. Letters and frames are those of :mod:`mmhier.datasets.synthetic.walking`; K joints of the
layer's joint set.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mmhier.body_models.skinning import forward_kinematics
from mmhier.body_models.smpl import SMPL
from mmhier.datasets.synthetic.walking import Walk
from mmhier.datasets.transforms.mesh_box import square_side
from mmhier.geometry.array_rotations import axis_angle_to_matrix
from mmhier.geometry.cameras import CROP_FOCAL_LENGTH, CROP_SIZE, translation_to_weak_perspective
from mmhier.geometry.scene_camera import fit_translation, line_of_sight
from mmhier.inference.crops import Crop
from mmhier.inference.estimators import MeshEstimator
from mmhier.inference.people_over_time import PeopleOverTime
from mmhier.media import Frame, Source
from mmhier.results.frame_result import FrameResult, Person
from mmhier.testing.results import make_result

SLOW_S = 0.25  # deviation of the weights of slow errors, seconds
_PADDING = 1.2
SHORTEST_SPELL = 4  # frames; a clip that begins or ends with a step has shorter ones, which say nothing


class Errors(NamedTuple):
    """How a network errs. Slow errors stay alike for about half a second, quick ones are new on each frame.

    The values are assumed; no trained network was measured for them. Each joint is turned by a median of 3.9
    degrees, the size of the body errs by 2 % slowly and 1.5 % more on each frame, its place by 0.5 % of the
    box both ways, the box by 2 %. Errors are normal and independent between joints and axes, which those of a
    network need not be.

    Attributes:
        scale: Slow and quick error of the size of the body in the picture, a share.
        place: Slow and quick error of its place, a share of the box.
        box: Quick error of the box's place and size, a share of it.
        joint_degrees: Slow and quick error of each rotation about each axis.
        shape: Slow and quick error of each shape component.
    """

    scale: tuple[float, float] = (0.02, 0.015)
    place: tuple[float, float] = (0.005, 0.005)
    box: float = 0.02
    joint_degrees: tuple[float, float] = (2.45, 0.4)
    shape: tuple[float, float] = (0.1, 0.1)


PERFECT = Errors((0.0, 0.0), (0.0, 0.0), 0.0, (0.0, 0.0), (0.0, 0.0))


class Seen(NamedTuple):
    """What there is of a frame before bodies are placed.

    Attributes:
        outputs: Of the network, see :mod:`mmhier.inference.estimators`; a batch of one.
        crop: Without pixels.
        box: (4,) left, top, right, bottom, pixels.
    """

    outputs: dict[str, torch.Tensor]
    crop: Crop
    box: np.ndarray


def seen_by_network(truth: Walk, body: SMPL, errors: Errors = PERFECT, seed: int = 0) -> list[Seen]:
    """What a network would say that sees each frame in a crop, as if a far camera looked at its centre.

    Args:
        truth: The walk.
        body: Its body, with the joints that the network is trained with.
        errors: What is added to that.
        seed: Of the errors.
    """
    rng = np.random.default_rng(seed)
    frames = len(truth.transl)

    def error(slow_quick: tuple[float, float], *shape: int) -> np.ndarray:
        slow = _slow(rng, frames, shape, truth.fps)
        return slow_quick[0] * slow + slow_quick[1] * rng.standard_normal((frames, *shape))

    height, width = truth.image_hw
    middle = np.array([width, height]) / 2
    posed = truth.posed(body)
    outline = _project(posed.vertices.double().numpy(), truth.focal) + middle
    pixels = torch.from_numpy(_project(posed.joints.double().numpy(), truth.focal) + middle)
    low, high = outline.min(1), outline.max(1)
    size = (high - low).max(1, keepdims=True)
    low, high = (edge + size * errors.box * rng.standard_normal(edge.shape) for edge in (low, high))
    side = np.array([square_side(_PADDING * (b - a), (192, 256)) for a, b in zip(low, high)])
    center = (low + high) / 2

    turn = line_of_sight(torch.from_numpy((center - middle) / truth.focal)).numpy()
    rotations = truth.rotations.copy()
    rotations[:, 0] = turn.transpose(0, 2, 1) @ rotations[:, 0]
    vectors = np.radians(error(errors.joint_degrees, rotations.shape[1], 3))
    wrong = axis_angle_to_matrix(vectors)
    rotations = torch.from_numpy(wrong @ rotations).float()
    betas = torch.from_numpy(error(errors.shape, body.num_betas)).float()
    joints = body(betas, rotations[:, 1:], rotations[:, :1]).joints
    centers, sides = torch.from_numpy(center), torch.from_numpy(side)
    focal = CROP_FOCAL_LENGTH / CROP_SIZE
    seen = (pixels - centers[:, None]) / (focal * sides[:, None, None])
    translation = fit_translation(joints.double(), seen, torch.full((frames,), 40.0).double())
    camera = translation_to_weak_perspective(translation).numpy()
    camera[:, 0] *= np.exp(error(errors.scale))
    camera[:, 1:] += 2 / camera[:, :1] * error(errors.place, 2)
    camera = torch.from_numpy(camera).float()
    return [
        Seen(
            dict(
                global_orient=rotations[t : t + 1, :1],
                body_pose=rotations[t : t + 1, 1:],
                betas=betas[t : t + 1],
                camera=camera[t : t + 1],
            ),
            Crop(np.zeros((0, 0, 3), np.uint8), center[t], np.array([side[t], side[t]])),
            np.concatenate([low[t], high[t]]).astype(np.float32),
        )
        for t in range(frames)
    ]


def follow(estimator: MeshEstimator, truth: Walk, seen: Sequence[Seen], smooth: bool) -> list[FrameResult]:
    """What inference makes of the outputs of a network for a clip, over time."""
    outputs = {name: torch.cat([one.outputs[name] for one in seen]) for name in seen[0].outputs}
    poses = estimator.poses(outputs, [one.crop for one in seen], [truth.image_hw] * len(seen))
    over_time, source, results = PeopleOverTime(smooth), Source('a.mp4', 'video', 'a.mp4', truth.fps), []
    for number, (pose, one) in enumerate(zip(poses, seen)):
        person = Person(one.box, pose.keypoints, pose.scores, mesh=pose.mesh)
        frame = Frame(np.zeros((1, 1, 3), np.uint8), source, number, number / truth.fps)
        over_time.begin(frame)
        over_time.follow(frame, [person], None)
        result = make_result(number, 0, image_hw=truth.image_hw, fps=truth.fps, time_s=frame.time_s)
        result.people = [person]
        results.append(result)
    return results


class MotionErrors(NamedTuple):
    """How far a motion is from the truth.

    Attributes:
        depth: Largest error of the root's depth, a share of the distance.
        steps: (T - 1) by how much the root's step from frame to frame is wrong, metres.
        slides: How far the ankle or the ball of a foot moves, in each spell of standing, metres.
    """

    depth: float
    steps: np.ndarray
    slides: list[float]


def compare(
    body: SMPL, truth: Walk, rotations: np.ndarray, transl: np.ndarray, betas: np.ndarray
) -> MotionErrors:
    """Compare a motion with the truth.

    Args:
        body: The body of both.
        truth: The walk.
        rotations: (T, J, 3, 3), root first.
        transl: (T, 3) metres.
        betas: (B) or (T, B).
    """
    joints = _skeleton(body, rotations, transl, betas)
    true = _skeleton(body, truth.rotations, truth.transl, np.zeros(body.num_betas))
    slides = []
    for side, name in enumerate(('left', 'right')):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], truth.stands[:, side], [0]]).astype(int)))
        for first, end in edges.reshape(-1, 2):
            if end - first >= SHORTEST_SPELL:
                points = [body.joint_names.index(f'{name}_{part}') for part in ('ankle', 'foot')]
                feet = joints[first:end, points]
                slides.append(float(np.linalg.norm(feet[:, None] - feet[None], axis=-1).max()))
    depth = float(np.abs(joints[:, 0, 2] / true[:, 0, 2] - 1).max())
    steps = np.linalg.norm(np.diff(joints[:, 0] - true[:, 0], axis=0), axis=1)
    return MotionErrors(depth, steps, slides)


def _skeleton(body: SMPL, rotations: np.ndarray, transl: np.ndarray, betas: np.ndarray) -> np.ndarray:
    """Joints (T, J, 3) of a motion as :func:`compare` takes it."""
    shapes = torch.as_tensor(np.atleast_2d(betas)).to(body.template)
    rest = body.rest_joints(shapes).double().cpu().numpy()
    rest = np.broadcast_to(rest, (len(rotations), *rest.shape[1:]))
    _, joints = forward_kinematics(np.asarray(rotations, np.float64), rest, np.asarray(body.parents))
    return joints + np.asarray(transl)[:, None]


def _project(points: np.ndarray, focal: float) -> np.ndarray:
    return focal * points[..., :2] / points[..., 2:]


def _slow(rng: np.random.Generator, frames: int, shape: tuple[int, ...], fps: float) -> np.ndarray:
    """Smooth noise (T, ...) of deviation one that stays alike for about half a second."""
    reach = int(np.ceil(3 * SLOW_S * fps))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / (SLOW_S * fps)) ** 2)
    kernel /= np.linalg.norm(kernel)
    white = rng.standard_normal((frames + 2 * reach, *shape))
    return np.apply_along_axis(np.convolve, 0, white, kernel, 'valid')
