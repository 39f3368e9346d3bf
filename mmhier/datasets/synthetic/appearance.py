"""Clothes, skin, hair and face of a synthetic person, painted in the coordinates of the T-pose template.

Every visible pixel knows where it lies on the template body (a solid texture coordinate), so garments,
patterns and facial features are plain functions of that point: no texture maps are needed, and a colour
edge is as sharp as the image. Garments and hair also push the surface outwards a little.

Letters: P points. Colours are RGB in [0, 1]. Template frame: metres, x to the body's left, y up, z forward.
"""

from dataclasses import dataclass

import numpy as np

from mmhier.body_models.smpl_file import COCO17_NAMES, BodyModelData

SKIN_TONES = np.array(
    [[0.88, 0.70, 0.60], [0.84, 0.63, 0.50], [0.78, 0.57, 0.42], [0.58, 0.39, 0.27], [0.36, 0.23, 0.16]]
)
HAIR_TONES = np.array(
    [
        [0.07, 0.06, 0.06],
        [0.20, 0.12, 0.07],
        [0.38, 0.24, 0.13],
        [0.72, 0.55, 0.28],
        [0.55, 0.22, 0.10],
        [0.62, 0.61, 0.60],
    ]
)
FABRIC_TONES = np.array(
    [
        [0.92, 0.92, 0.90], [0.10, 0.10, 0.12], [0.45, 0.46, 0.48], [0.13, 0.18, 0.34], [0.20, 0.36, 0.62],
        [0.70, 0.12, 0.14], [0.14, 0.40, 0.22], [0.86, 0.68, 0.16], [0.84, 0.42, 0.14], [0.48, 0.20, 0.44],
        [0.40, 0.68, 0.72], [0.88, 0.60, 0.64], [0.46, 0.32, 0.20], [0.74, 0.68, 0.54],
    ]
)  # fmt: skip
TROUSER_TONES = np.array(
    [
        [0.16, 0.22, 0.38],
        [0.30, 0.40, 0.58],
        [0.10, 0.10, 0.12],
        [0.34, 0.34, 0.36],
        [0.58, 0.50, 0.38],
        [0.30, 0.26, 0.18],
        [0.80, 0.78, 0.72],
    ]
)
# Clothes whose chromaticity is this close to the skin's would make people look bare.
SKIN_DISTANCE = 0.045
TOP_PATTERNS = {'plain': 0.45, 'stripes': 0.2, 'columns': 0.08, 'checks': 0.12, 'blocks': 0.1, 'dots': 0.05}
# What a surface is, where it is not skin that may be covered: see :func:`paint`.
EYEBALL, TEETH, TONGUE = 1, 2, 3
MOUTH_COLOUR, TONGUE_COLOUR, TEETH_COLOUR = (0.30, 0.08, 0.08), (0.72, 0.33, 0.33), (0.92, 0.90, 0.84)
IRIS_RADIUS, PUPIL_RADIUS = 0.0058, 0.0024
BOTTOM_PATTERNS = {'plain': 0.86, 'columns': 0.05, 'checks': 0.05, 'stripes': 0.02, 'dots': 0.02}


@dataclass(frozen=True)
class Landmarks:
    """Places on the template body, metres: joints (J, 3) and COCO keypoints (17, 3) by name."""

    joints: dict[str, np.ndarray]
    face: dict[str, np.ndarray]

    @classmethod
    def of(cls, model: BodyModelData) -> 'Landmarks':
        """Landmarks of a model's template."""
        keypoints = model.coco17_regressor @ np.concatenate([model.v_template, model.joint_template])
        return cls(dict(zip(model.joint_names, model.joint_template)), dict(zip(COCO17_NAMES, keypoints)))


@dataclass(frozen=True)
class Fabric:
    """A pattern of two colours; ``period`` in metres."""

    pattern: str
    colour: np.ndarray
    second: np.ndarray
    period: float

    def paint(self, points: np.ndarray) -> np.ndarray:
        """(P, 3) colours at template points (P, 3)."""
        if self.pattern == 'plain':
            return np.broadcast_to(self.colour, points.shape)
        x, y, z = np.floor(points.T / self.period)
        if self.pattern == 'stripes':
            other = y % 2 == 0
        elif self.pattern == 'columns':
            other = x % 2 == 0
        elif self.pattern == 'checks':
            other = (x + y + z) % 2 == 0
        elif self.pattern == 'dots':
            inner = points / self.period - np.floor(points / self.period) - 0.5
            other = (inner[:, 0] ** 2 + inner[:, 1] ** 2 < 0.07) & (np.abs(inner[:, 2]) < 0.5)
        else:
            other = points[:, 1] > 0.3
        return np.where(other[:, None], self.second, self.colour)


@dataclass(frozen=True)
class Outfit:
    """Everything that decides how one person looks; lengths are template coordinates in metres."""

    skin: np.ndarray
    hair: np.ndarray
    top: Fabric
    bottom: Fabric
    shoes: np.ndarray
    sole: np.ndarray
    belt: np.ndarray | None
    emblem: np.ndarray | None
    sleeve: float
    waist: float
    hem: float
    shoe_top: float
    top_hem: float
    hairline: float
    hair_length: float
    hair_volume: float
    hat: np.ndarray | None
    beard: bool
    looseness: float
    wrinkles: np.ndarray


def sample_outfit(rng: np.random.Generator, marks: Landmarks) -> Outfit:
    """Draw an outfit."""
    joints = marks.joints
    shoulder, elbow, wrist = (joints[f'left_{name}'][0] for name in ('shoulder', 'elbow', 'wrist'))
    hip, knee, ankle = (joints[f'left_{name}'][1] for name in ('hip', 'knee', 'ankle'))
    sleeve = rng.choice(
        [shoulder - 0.01, shoulder + 0.55 * (elbow - shoulder), elbow, wrist - 0.01],
        p=[0.12, 0.4, 0.06, 0.42],
    )
    hem = rng.choice(
        [hip - 0.2, 0.5 * (hip + knee) - 0.12, knee - 0.2, ankle + 0.03], p=[0.08, 0.2, 0.07, 0.65]
    )
    waist = rng.uniform(0.02, 0.1)
    one_piece = rng.random() < 0.1
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    low = int(min(tone, len(SKIN_TONES) - 2))
    skin = SKIN_TONES[low] + (tone - low) * (SKIN_TONES[low + 1] - SKIN_TONES[low])
    skin = np.clip(skin * rng.uniform(0.94, 1.06, 3), 0, 1)
    top = _sample_fabric(rng, TOP_PATTERNS, FABRIC_TONES, skin)
    trousers = TROUSER_TONES if rng.random() < 0.65 else FABRIC_TONES
    bottom = _sample_fabric(rng, BOTTOM_PATTERNS, trousers, skin)
    long_hair = rng.random() < 0.35
    return Outfit(
        skin=skin,
        hair=_jitter(rng, HAIR_TONES),
        top=top,
        bottom=top if one_piece else bottom,
        shoes=_jitter(rng, FABRIC_TONES),
        sole=np.full(3, rng.choice([0.08, 0.85, 0.55])),
        belt=_jitter(rng, FABRIC_TONES) if rng.random() < 0.3 else None,
        emblem=_jitter(rng, FABRIC_TONES) if rng.random() < 0.3 else None,
        sleeve=float(sleeve),
        waist=float(waist),
        hem=float(hem),
        shoe_top=float(ankle + rng.choice([-0.015, 0.02, 0.12], p=[0.5, 0.3, 0.2])),
        top_hem=float(waist - rng.choice([0.0, 0.06, 0.16], p=[0.5, 0.3, 0.2])),
        hairline=float(rng.uniform(0.055, 0.075)),
        hair_length=float(rng.uniform(0.1, 0.32) if long_hair else rng.uniform(-0.03, 0.06)),
        hair_volume=float(rng.uniform(0.012, 0.035) if long_hair else rng.uniform(0.004, 0.02)),
        hat=_jitter(rng, FABRIC_TONES) if rng.random() < 0.12 else None,
        beard=bool(not long_hair and rng.random() < 0.25),
        looseness=float(rng.uniform(0.004, 0.026)),
        wrinkles=rng.uniform(-40.0, 40.0, (4, 3)),
    )


def _jitter(rng: np.random.Generator, tones: np.ndarray) -> np.ndarray:
    return np.clip(tones[rng.integers(len(tones))] + rng.normal(0.0, 0.04, 3), 0.02, 0.98)


def _sample_fabric(
    rng: np.random.Generator, patterns: dict[str, float], tones: np.ndarray, skin: np.ndarray
) -> Fabric:
    names = list(patterns)
    pattern = names[rng.choice(len(names), p=[patterns[name] for name in names])]
    colour = _jitter(rng, tones)
    while np.abs(colour / colour.sum() - skin / skin.sum()).max() < SKIN_DISTANCE:
        colour = _jitter(rng, tones)
    # The second colour: another one, or a darker or lighter shade of the first.
    second = (
        _jitter(rng, tones) if rng.random() < 0.6 else np.clip(colour * rng.choice([0.55, 1.6]), 0.02, 0.98)
    )
    return Fabric(pattern, colour, second, float(rng.uniform(0.03, 0.1)))


def _regions(outfit: Outfit, marks: Landmarks, points: np.ndarray) -> dict[str, np.ndarray]:
    """Boolean masks (P,) of hair, top, bottom and shoes at template points (P, 3)."""
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    joints, face = marks.joints, marks.face
    eye, ear, neck = face['left_eye'], face['left_ear'], joints['neck']
    # The collar of the top: lower in front than behind.
    collar = neck[1] - 0.055 - 0.35 * np.clip(z - neck[2], -0.05, 0.2) + 0.25 * x
    top = (y < np.maximum(collar, neck[1] - 0.075)) & (y > outfit.top_hem) & (x < outfit.sleeve)
    legs = x < joints['left_shoulder'][0] + 0.1
    bottom = (y < outfit.waist) & (y > outfit.hem) & legs & ~top
    shoes = y < outfit.shoe_top
    scalp = (y > eye[1] + outfit.hairline - 0.9 * np.clip(ear[2] + 0.055 - z, 0.0, 0.2)) & (z < eye[2] + 0.03)
    behind = (
        (z < ear[2] - 0.012)
        & (y > ear[1] - 0.03 - outfit.hair_length)
        & (x < 0.1)
        & (y > joints['spine3'][1] - 0.05)
    )
    long_sides = (outfit.hair_length > 0.1) & (z < ear[2] + 0.025) & (x > 0.045) & (y > neck[1] - 0.06)
    hair = (scalp | behind | long_sides) & (x < 0.13) & (y > neck[1] - 0.3)
    on_head = y > neck[1] - 0.02
    return {
        'hair': hair & (on_head | (outfit.hair_length > 0.1)),
        'top': top,
        'bottom': bottom,
        'shoes': shoes,
    }


def surface_offsets(outfit: Outfit, marks: Landmarks, points: np.ndarray) -> np.ndarray:
    """How far garments and hair push the surface out along its normal, (P,) metres."""
    region = _regions(outfit, marks, points)
    joints = marks.joints
    offset = np.zeros(len(points), np.float32)
    offset[region['bottom']] = 0.6 * outfit.looseness + 0.002
    # Wide trousers flare towards the hem.
    knee = joints['left_knee'][1]
    flare = np.clip((knee - points[:, 1]) / 0.4, 0.0, 1.0) * outfit.looseness
    offset += np.where(region['bottom'], flare, 0.0).astype(np.float32)
    offset[region['top']] = outfit.looseness + 0.003
    offset[region['shoes']] = 0.009
    crown = np.clip((points[:, 1] - marks.face['left_eye'][1]) / 0.1, 0.4, 1.0)
    offset[region['hair']] = outfit.hair_volume * crown[region['hair']]
    return offset


def paint(
    outfit: Outfit, marks: Landmarks, points: np.ndarray, kinds: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Colour template points.

    Args:
        outfit: the person's outfit.
        marks: landmarks of the template.
        points: (P, 3) template coordinates.
        kinds: (P,) 0 for skin, or ``EYEBALL``, ``TEETH``, ``TONGUE``; of bodies that have these.

    Returns:
        RGB albedo (P, 3), and gloss (P,), the strength of the highlight.
    """
    region = _regions(outfit, marks, points)
    colour = np.broadcast_to(outfit.skin, points.shape).astype(np.float32)
    gloss = np.full(len(points), 0.12, np.float32)
    head = np.flatnonzero(points[:, 1] > marks.joints['neck'][1] - 0.02)
    colour[head] = _paint_face(outfit, marks, points[head], colour[head], with_eyes=kinds is None)
    for name, fabric in (('bottom', outfit.bottom), ('top', outfit.top)):
        chosen = np.flatnonzero(region[name])
        colour[chosen] = fabric.paint(points[chosen]) * _folds(outfit, points[chosen])
        gloss[chosen] = 0.03
    if outfit.belt is not None:
        belt = (np.abs(points[:, 1] - outfit.waist) < 0.017) & (region['top'] | region['bottom'])
        colour[belt] = outfit.belt
    if outfit.emblem is not None:
        chest = marks.joints['spine3']
        near = (
            (np.abs(points[:, 0]) < 0.075)
            & (np.abs(points[:, 1] - chest[1] + 0.06) < 0.055)
            & (points[:, 2] > chest[2])
        )
        colour[near & region['top']] = outfit.emblem
    colour[region['shoes']] = outfit.shoes
    colour[points[:, 1] < marks.joints['left_foot'][1] - 0.015] = outfit.sole
    gloss[region['shoes']] = 0.15
    hair = np.flatnonzero(region['hair'])
    strands = 0.94 + 0.06 * np.sin(points[hair, 0] * 260.0 + points[hair, 2] * 160.0)
    colour[hair] = outfit.hair * strands[:, None]
    gloss[hair] = 0.2
    if outfit.hat is not None:
        eye = marks.face['left_eye']
        hat = (points[:, 1] > eye[1] + 0.05) & (np.abs(points[:, 0]) < 0.2)
        colour[hat] = outfit.hat * np.where(points[hat, 1:2] < eye[1] + 0.065, 0.7, 1.0)
        gloss[hat] = 0.03
    if kinds is not None:
        _paint_inside(marks, points, kinds, colour, gloss)
    return colour, gloss


def _paint_inside(
    marks: Landmarks, points: np.ndarray, kinds: np.ndarray, colour: np.ndarray, gloss: np.ndarray
) -> None:
    """Eyeballs and the inside of the mouth."""
    nose, eye = marks.face['nose'], marks.joints['left_eyeball']
    # An ellipsoid that lies inside of the head.
    offset = (points - [0.0, nose[1] - 0.036, nose[2] - 0.057]) / [0.030, 0.028, 0.030]
    cavity = (offset * offset).sum(axis=1) < 1.0
    colour[cavity & (kinds == 0)] = MOUTH_COLOUR
    colour[kinds == TONGUE], colour[kinds == TEETH] = TONGUE_COLOUR, TEETH_COLOUR
    balls = np.flatnonzero(kinds == EYEBALL)
    x, y, z = points[balls].T
    off = np.where(z > eye[2], np.hypot(np.abs(x) - eye[0], y - eye[1]), 1.0)
    colour[balls] = np.where(off < IRIS_RADIUS, 0.16, 0.86)[:, None]
    colour[balls[off < PUPIL_RADIUS]] = 0.03
    gloss[balls] = 0.5


def _folds(outfit: Outfit, points: np.ndarray) -> np.ndarray:
    """Soft dark and light folds of cloth, (P, 1) around one."""
    waves = np.sin(points @ outfit.wrinkles.T.astype(np.float32))
    return (1.0 + 0.05 * waves[:, :2].sum(axis=1) + 0.05 * waves[:, 2] * waves[:, 3])[:, None]


def _paint_face(
    outfit: Outfit, marks: Landmarks, points: np.ndarray, colour: np.ndarray, with_eyes: bool
) -> np.ndarray:
    """Eyes, brows, mouth, cheeks and beard on head points; of eyes only the lids if they are not painted."""
    face = marks.face
    eye, nose = face['left_eye'], face['nose']
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    front = z > eye[2] - 0.045
    colour = colour.copy()
    # Where nothing inside of the mouth is painted, the lower lip alone looks like a closed mouth.
    mouth_y, mouth_height = (nose[1] - 0.043, 0.0085) if with_eyes else (nose[1] - 0.0325, 0.0115)

    def blob(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return front & (((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1.0)

    blush = np.exp(-((x - 0.045) ** 2 + (y - nose[1]) ** 2) / 0.0006)[:, None]
    colour *= 1.0 - blush * front[:, None] * np.array([0.0, 0.12, 0.10])
    if outfit.beard:
        jaw = (y < nose[1] - 0.012) & (z > face['left_ear'][2] - 0.005) & (y > nose[1] - 0.13)
        colour[jaw & ~blob(0.0, mouth_y, 0.024, 0.008)] = outfit.hair
    colour[blob(0.0, mouth_y, 0.025, mouth_height)] = outfit.skin * np.array([0.82, 0.48, 0.48])
    colour[blob(eye[0], eye[1], 0.020, 0.013)] = outfit.skin * 0.72
    if with_eyes:
        colour[blob(eye[0], eye[1] - 0.002, 0.016, 0.0065)] = 0.82
        colour[blob(eye[0] - 0.001, eye[1] - 0.001, 0.0075, 0.0075)] = 0.13
    colour[blob(eye[0], eye[1] + 0.022, 0.021, 0.0042)] = outfit.hair * 0.7
    colour[front & (y < nose[1] - 0.006) & (y > nose[1] - 0.014) & (x < 0.013)] *= 0.6
    return colour
