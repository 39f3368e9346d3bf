"""People who walk before a known camera.

A walk is straight and at an even speed. Feet that stand stay exactly where they are: the legs are solved for
ankles at fixed places, with flat feet. The body is any of SMPL's skeleton.

Letters: T frames, J joints of the body, root included.

Convention:
    Camera frame: x right, y down, z forward, metres. The camera is level but for ``pitch``, degrees that it
    looks down, and so many metres above the floor. A heading of 0 degrees walks towards the camera, of 90 to
    the right of the picture, of 180 away.
"""

from typing import NamedTuple

import numpy as np
import torch

from mmhier.body_models.smpl import SMPL, BodyOutput
from mmhier.body_models.smpl_file import JOINT_NAMES
from mmhier.geometry.array_rotations import euler_to_matrix

STRIDE_S, STANDING, LIFT = 1.0, 0.6, 0.12  # seconds of two steps, share in which a foot stands, metres

# Options of :func:`walk`, three to five seconds: across at one distance, towards the camera and away,
# diagonally, seen from above; and somebody who stands.
WALKS: dict[str, dict] = dict(
    across=dict(start=(-1.6, 4.0), heading=90),
    towards=dict(start=(0.3, 7.5), heading=0, frames=150),
    away=dict(start=(-0.5, 3.2), heading=180, frames=120),
    diagonal=dict(start=(-1.8, 6.5), heading=45, frames=120),
    above=dict(start=(1.8, 5.0), heading=-90, pitch=15, height=2.2),
    stands=dict(start=(0.5, 4.0), heading=20, speed=0.0),
)


class Walk(NamedTuple):
    """Somebody who walks, seen by a camera.

    Attributes:
        rotations: (T, J, 3, 3), root first, body to camera.
        transl: (T, 3) metres in the camera.
        stands: (T, 2) whether the left and the right foot stand.
        fps: Frames per second.
        focal: Focal length in pixels.
        image_hw: Height and width, pixels.
        floor: (4,) unit normal n, upwards, and h of the floor in the camera: n x + h = 0.
    """

    rotations: np.ndarray
    transl: np.ndarray
    stands: np.ndarray
    fps: float
    focal: float
    image_hw: tuple[int, int]
    floor: np.ndarray

    def posed(self, body: SMPL) -> BodyOutput:
        """The bodies in the camera."""
        rotations, transl = (torch.tensor(array, dtype=torch.float32) for array in self[:2])
        return body(global_orient=rotations[:, :1], body_pose=rotations[:, 1:], transl=transl)


def walk(
    body: SMPL,
    frames: int = 90,
    fps: float = 30.0,
    start: tuple[float, float] = (-2.0, 4.0),
    heading: float = 90.0,
    speed: float = 1.1,
    focal: float = 1250.0,
    image_hw: tuple[int, int] = (720, 1280),
    height: float = 1.4,
    pitch: float = 0.0,
) -> Walk:
    """Walk straight ahead.

    Args:
        body: The body.
        frames: How many.
        fps: Frames per second.
        start: Where the pelvis is at first: x, and distance from the camera along the floor.
        heading: Degrees, see the convention.
        speed: Metres per second; 0 stands still.
        focal: Focal length in pixels.
        image_hw: Height and width of the pictures.
        height: Of the camera above the floor, metres.
        pitch: Degrees that the camera looks down.
    """
    rest = body.rest_joints()[0].double().numpy()
    joint = JOINT_NAMES.index
    seconds = np.arange(frames) / fps
    stride = speed * STRIDE_S
    ankle_height = -(body.v_template[:, 1].min().item() - rest[joint('left_ankle'), 1])
    leg = sum(
        np.linalg.norm(np.subtract(*rest[[joint(f'left_{a}'), joint(f'left_{b}')]])[1:])
        for a, b in (('hip', 'knee'), ('knee', 'ankle'))
    )
    reach = np.sqrt((0.995 * leg) ** 2 - (STANDING / 2 * stride) ** 2)
    pelvis_height = ankle_height + reach - rest[joint('left_hip'), 1]

    angles = np.zeros((frames, len(body.parents), 3))  # about x, degrees of freedom of a walk straight ahead
    stands = np.zeros((frames, 2), bool)
    for side, name in enumerate(('left', 'right')):
        steps = seconds / STRIDE_S + side / 2
        whole, phase = np.floor(steps), steps % 1
        stands[:, side] = (phase < STANDING) | (speed == 0)
        swing = np.clip((phase - STANDING) / (1 - STANDING), 0, 1)
        eased = swing**3 * (10 - 15 * swing + 6 * swing**2)
        forward = (whole - side / 2 + STANDING / 2 + eased) * stride - speed * seconds
        up = ankle_height - pelvis_height + (LIFT * np.sin(np.pi * swing) ** 2 if speed else 0.0)
        hip, knee, ankle = (rest[joint(f'{name}_{part}'), 1:] for part in ('hip', 'knee', 'ankle'))
        rest_z = rest[joint(f'{name}_ankle'), 2]
        target = np.stack(np.broadcast_arrays(up - hip[0], forward + rest_z - hip[1]), -1)
        at_hip, at_knee = _bend(knee - hip, ankle - knee, target)
        angles[:, joint(f'{name}_hip'), 0] = at_hip
        angles[:, joint(f'{name}_knee'), 0] = at_knee
        angles[:, joint(f'{name}_ankle'), 0] = -at_hip - at_knee
    rotations = euler_to_matrix(angles)
    swing = 0.5 * np.sin(2 * np.pi * (seconds / STRIDE_S + 0.2)) * min(speed, 1.0)
    for sign, name in ((-1, 'left'), (1, 'right')):
        arms = np.column_stack([-sign * swing, np.zeros(frames), np.full(frames, 1.2 * sign)])
        rotations[:, joint(f'{name}_shoulder')] = euler_to_matrix(arms, 'xyz')

    # The level camera's frame first: upright and facing the camera is half a turn about x.
    heading = np.radians(heading)
    turned = euler_to_matrix([np.pi, -heading, 0.0])
    direction = np.array([np.sin(heading), 0, -np.cos(heading)])
    place = np.array([start[0], height - pelvis_height, start[1]]) + speed * seconds[:, None] * direction
    looks_down = euler_to_matrix([np.radians(pitch), 0.0, 0.0])
    rotations[:, 0] = looks_down @ turned
    floor = np.append(looks_down @ [0.0, -1.0, 0.0], height)
    return Walk(rotations, place @ looks_down.T - rest[0], stands, fps, focal, image_hw, floor)


def _bend(upper: np.ndarray, lower: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Angles (T) of hip and knee about x, radians, that bring the ankle to a target (T, 2), y and z."""
    a, b = np.linalg.norm(upper), np.linalg.norm(lower)
    distance = np.linalg.norm(target, axis=1)
    inner = np.arccos(np.clip((a**2 + b**2 - distance**2) / (2 * a * b), -1, 1))
    # Angles from -y towards -z, as a turn about x takes them.
    direction = [np.arctan2(-vector[..., 1], -vector[..., 0]) for vector in (upper, lower, target)]
    at_hip = np.arccos(np.clip((a**2 + distance**2 - b**2) / (2 * a * distance), -1, 1))
    thigh = direction[2] - at_hip
    return thigh - direction[0], (thigh + np.pi - inner - direction[1]) - (thigh - direction[0])
