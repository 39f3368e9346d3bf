"""What one image shows: a camera, people on the floor, furniture and occluders.

Convention: world frame with y up and the floor at y = 0, metres; see :mod:`.camera`.
"""

from typing import NamedTuple

import numpy as np

from mmhier.datasets.synthetic.appearance import Outfit, sample_outfit
from mmhier.datasets.synthetic.camera import BODIES, HIP_HEIGHT, WHOLE_BODIES, Camera, sample_camera
from mmhier.datasets.synthetic.hands import sample_expression, with_hands_and_face
from mmhier.datasets.synthetic.people import BodyKit, Person
from mmhier.datasets.synthetic.poses import sample_pose
from mmhier.datasets.synthetic.props import Prop, make_seat, sample_prop
from mmhier.rasterizer import project

HAND_LENGTH = 0.18  # metres
# Of whole bodies the main person takes other poses until a hand is seen that is so many image heights long.
MIN_HAND_SHARE, MOST_POSES = 0.09, 6
# Numbers of the joints of SMPL-X's left and right hand, wrist first.
HANDS = np.array([[20, *range(25, 40)], [21, *range(40, 55)]])


class SceneStyle(NamedTuple):
    """How hard the images of a data set are.

    Attributes:
        num_people_chances: chances of one, two, ... people.
        occluder_chance: chance that a prop stands between the camera and a person.
        facing_chance: share of people who roughly face the camera; the others turn anywhere.
        facing_spread: standard deviation of their direction, radians.
        lying_chance: share of people who lie.
    """

    num_people_chances: tuple[float, ...]
    occluder_chance: float
    facing_chance: float
    facing_spread: float
    lying_chance: float


SCENE_STYLES = {
    'varied': SceneStyle(
        (0.42, 0.30, 0.18, 0.10), 0.35, facing_chance=0.55, facing_spread=0.8, lying_chance=0.03
    ),
    'simple': SceneStyle((1.0,), 0.0, facing_chance=1.0, facing_spread=0.8, lying_chance=0.0),
}


class Scene(NamedTuple):
    """Camera, people, props, and the distance of the main person in metres."""

    camera: Camera
    people: list[Person]
    props: list[Prop]
    distance: float


def sample_scene(
    rng: np.random.Generator,
    kit: BodyKit,
    image_hw: tuple[int, int],
    style: SceneStyle = SCENE_STYLES['varied'],
) -> Scene:
    """Draw a scene of a style for images of the given height and width."""
    camera, distance = sample_camera(rng, image_hw, WHOLE_BODIES if kit.is_whole else BODIES)
    count = 1 + rng.choice(len(style.num_people_chances), p=style.num_people_chances)
    people, places = [], []
    for index in range(count):
        place = _sample_place(rng, camera, distance, places, main=index == 0)
        if place is None:
            continue
        places.append(place)
        # Towards the camera is half a turn.
        away = np.pi + np.arctan2(place[0] - camera.position[0], place[2] - camera.position[2])
        facing = rng.random() < style.facing_chance
        yaw = away + (rng.normal(0.0, style.facing_spread) if facing else rng.uniform(-np.pi, np.pi))
        outfit = sample_outfit(rng, kit.marks)
        betas = np.clip(rng.normal(0.0, 0.9, kit.model.num_betas), -2.5, 2.5)
        for _ in range(MOST_POSES):
            person = _sample_person(rng, kit, style, betas, outfit, yaw, place)
            if index or not kit.is_whole or _shows_a_hand(person, camera):
                break
        people.append(person)
    # Keep the main person in view when the hip is low, as in sitting or lying.
    camera = camera.raised(float(people[0].joints[0, 1]) - HIP_HEIGHT)
    props = _sample_props(rng, distance, places, style.occluder_chance)
    props += [
        make_seat(rng, person.joints[0], person.joints[4] + person.joints[5])
        for person in people
        if _needs_seat(person)
    ]
    return Scene(camera, people, props, distance)


def _sample_person(
    rng: np.random.Generator,
    kit: BodyKit,
    style: SceneStyle,
    betas: np.ndarray,
    outfit: Outfit,
    yaw: float,
    place: np.ndarray,
) -> Person:
    """Somebody in a random pose at a place on the floor."""
    pose, expression = sample_pose(rng, style.lying_chance), None
    if kit.is_whole:
        pose = with_hands_and_face(rng, pose)
        expression = sample_expression(rng, kit.model.num_expressions)
    person = kit.build(pose, betas, outfit, yaw, expression)
    shift = place - [person.joints[0, 0], 0.0, person.joints[0, 2]]
    if person.pose.legs == 'jump':
        shift[1] += rng.uniform(0.0, 0.4)
    return person.moved(shift.astype(np.float32))


def _shows_a_hand(person: Person, camera: Camera) -> bool:
    """Whether a whole hand is inside of the image, and as large as is asked for."""
    camera = camera.raised(float(person.joints[0, 1]) - HIP_HEIGHT)
    height, width = camera.image_hw
    x, y, depth = np.moveaxis(project(camera.to_camera(person.joints[HANDS]), camera.intrinsics), -1, 0)
    inside = (depth > 0.1) & (x > 0) & (x < width - 1) & (y > 0) & (y < height - 1)
    size = camera.intrinsics[0, 0] * HAND_LENGTH / np.maximum(depth.mean(axis=1), 0.1)
    return bool((inside.all(axis=1) & (size >= MIN_HAND_SHARE * height)).any())


def _needs_seat(person: Person) -> bool:
    # Upright and on a chair's height; lower ones sit on the floor.
    return (
        person.pose.legs == 'sit'
        and person.joints[15, 1] - person.joints[0, 1] > 0.35
        and person.joints[0, 1] > 0.35
    )


def _sample_place(
    rng: np.random.Generator, camera: Camera, distance: float, taken: list[np.ndarray], main: bool
) -> np.ndarray | None:
    """A free place on the floor that the camera sees, or None after some attempts."""
    width = camera.image_hw[1]
    forward = np.array([camera.rotation[2, 0], 0.0, camera.rotation[2, 2]])
    forward /= np.linalg.norm(forward)
    right = np.array([-forward[2], 0.0, forward[0]])
    for _ in range(8):
        column = width * (rng.uniform(0.2, 0.8) if main else rng.uniform(-0.02, 1.02))
        depth = distance if main else max(distance * rng.uniform(0.65, 2.0), 1.3)
        side = (column - camera.intrinsics[0, 2]) / camera.intrinsics[0, 0] * depth
        place = depth * np.linalg.norm(camera.rotation[2, [0, 2]]) * forward + side * right
        if all(np.linalg.norm(place - other) > 0.6 for other in taken):
            return place
    return None


def _sample_props(
    rng: np.random.Generator, distance: float, places: list[np.ndarray], occluder_chance: float
) -> list[Prop]:
    props = []
    for _ in range(rng.integers(0, 4)):
        depth = distance * rng.uniform(1.35, 2.6) + 0.5
        place = np.array([rng.uniform(-0.6, 0.6) * depth, 0.0, depth])
        if all(np.linalg.norm(place - other) > 0.9 for other in places):
            props.append(sample_prop(rng, place, 0.9))
    if rng.random() < occluder_chance:
        target = places[rng.integers(len(places))]
        share = rng.uniform(0.5, 0.8)
        place = target * share + [rng.normal(0.0, 0.22), 0.0, 0.0]
        if all(np.linalg.norm(place - other) > 0.5 for other in places):
            props.append(sample_prop(rng, place, 0.55 * share + 0.1))
    return props
