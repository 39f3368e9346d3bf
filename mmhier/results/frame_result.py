"""What inference returns: frames, the people on them, their keypoints and bodies.

Arrays are float32. K keypoints, J joints of the body without its root, S shape components, E components of
expression, V vertices.

Convention:
    Pixels: x right, y down, (0, 0) in the centre of the first pixel, as in COCO. Camera: x right, y down,
    z forward, metres; its axis meets the pixel (width / 2, height / 2). ``joints_3d`` and ``vertices()`` have
    the axes of the camera and the origin of the body: add ``transl``. Rotations are matrices that act on
    columns; ``global_orient`` goes from the body to the camera, ``body_pose`` is relative to the parent.

    Of a mesh model the keypoints are the joints of the body as the crop's camera sees them, all with score 1:
    the model does not say how sure it is.

The JSON form is :data:`SCHEMA`, version :data:`VERSION`; ``CONVENTIONS`` is written into every file.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mmhier.version import __version__

if TYPE_CHECKING:
    from mmhier.body_models.skinned_body import BodyOutput
    from mmhier.body_models.smpl import SMPL
    from mmhier.visualization.style import Style

SCHEMA, VERSION = 'mmhier.results', 1

CONVENTIONS = {
    'pixels': 'x right, y down; (0, 0) is the centre of the first pixel',
    'camera': 'x right, y down, z forward; metres; its axis meets the pixel (width / 2, height / 2)',
    'bbox': 'left, top, right, bottom; pixels',
    'bbox_score': '0 to 1',
    'track_id': 'the same number is the same person within a video, camera or folder',
    'keypoints': '(keypoints, 2) x and y, pixels, in the order of keypoint_names',
    'keypoint_scores': '(keypoints,) 0 to 1; of a mesh model 1: it does not say how sure it is',
    'time_s': 'seconds from the start of the video or camera',
    'mesh.global_orient': '(1, 3, 3) rotation matrix, body to camera, acts on columns',
    'mesh.body_pose': '(joints, 3, 3) rotation matrices relative to the parent joint',
    'mesh.betas': '(components,) shape of the body model',
    'mesh.left_hand_pose': '(15, 3, 3) as body_pose, of whole bodies; right_hand_pose is the same',
    'mesh.jaw_pose': '(1, 3, 3) as body_pose, of whole bodies',
    'mesh.expression': '(components,) expression of the body model, of whole bodies',
    'mesh.part_boxes': '(3, 4) left, top, right, bottom of left hand, right hand and face, pixels',
    'mesh.camera': '(s, tx, ty) of the square crop: halves of the crop per metre, metres, metres',
    'mesh.transl': '(3,) metres, to be added to joints_3d and vertices to place them before the camera',
    'mesh.focal_length': 'pixels, of the whole image',
    'mesh.focal_source': 'where it is from: assumed, exif (the photo says it), given, or official (HMR2.0)',
    'mesh.joints_3d': '(joints, 3) metres, axes of the camera, origin of the body',
    'mesh.body_model': 'open (free of licences), or SMPL neutral, male or female, or a file of that format',
    'mesh.joint_set': 'names and order of joints_3d: a joint set of mmhier.body_models.joint_sets',
}
# Height of the field of one person over its width, about.
_TALL = 2.0
# Decimals in files: less than what float32 resolves.
_DECIMALS = dict(
    bbox=3, keypoints=3, keypoint_scores=5, joints_3d=6, transl=5, camera=6, betas=6, global_orient=8,
    body_pose=8, left_hand_pose=8, right_hand_pose=8, jaw_pose=8, expression=6, part_boxes=3,
)  # fmt: skip
# Fields of bodies: of all, and of whole ones.
BODY_FIELDS = ('global_orient', 'body_pose', 'betas', 'camera', 'transl', 'joints_3d')
ROTATIONS = ('global_orient', 'body_pose', 'left_hand_pose', 'right_hand_pose', 'jaw_pose')
WHOLE_BODY_FIELDS = ('left_hand_pose', 'right_hand_pose', 'jaw_pose', 'expression', 'part_boxes')


@dataclass
class BodyMesh:
    """The body of one person.

    Attributes:
        global_orient: (1, 3, 3).
        body_pose: (J, 3, 3).
        betas: (S,).
        camera: (3,), ``(s, tx, ty)`` of the crop, see :mod:`mmhier.geometry.cameras`.
        transl: (3,) metres, in the camera of the full image.
        focal_length: Of the full image, pixels.
        joints_3d: (K, 3) metres.
        body_model: What :func:`mmhier.body_models.model_directory.load_body_model` loads.
        joint_set: Of ``joints_3d``, see :mod:`mmhier.body_models.joint_sets`.
        focal_source: Where the focal length comes from: 'assumed', 'exif' (the photo says it), 'given', or
            'official' (what HMR2.0 assumes); see :class:`mmhier.geometry.scene_camera.FocalChoice`.
        left_hand_pose: (15, 3, 3), of whole bodies, as are those that follow; else None.
        right_hand_pose: (15, 3, 3).
        jaw_pose: (1, 3, 3).
        expression: (E,).
        part_boxes: (3, 4) of left hand, right hand and face; pixels.
        body: The layer of that model, if it is loaded.
        unsmoothed: What the frame alone said, if this was smoothed. It is not written to files.
    """

    global_orient: np.ndarray
    body_pose: np.ndarray
    betas: np.ndarray
    camera: np.ndarray
    transl: np.ndarray
    focal_length: float
    joints_3d: np.ndarray
    body_model: str
    joint_set: str
    focal_source: str = 'official'
    left_hand_pose: np.ndarray | None = None
    right_hand_pose: np.ndarray | None = None
    jaw_pose: np.ndarray | None = None
    expression: np.ndarray | None = None
    part_boxes: np.ndarray | None = None
    body: 'SMPL | None' = field(default=None, repr=False, compare=False)
    unsmoothed: 'BodyMesh | None' = field(default=None, repr=False, compare=False)

    def layer(self) -> 'SMPL':
        """The body model.

        Raises:
            FileNotFoundError: If it is not installed.
        """
        if self.body is None:
            from mmhier.body_models.model_directory import shared_body_model

            self.body = shared_body_model(self.body_model, self.joint_set, len(self.betas))
        return self.body

    def vertices(self) -> np.ndarray:
        """Compute the mesh: (V, 3) metres, axes of the camera, origin of the body. It is not kept."""
        return _pose([self]).vertices[0].cpu().numpy()

    def joints(self) -> np.ndarray:
        """Compute ``joints_3d`` from the parameters."""
        return _pose([self]).joints[0].cpu().numpy()

    @property
    def faces(self) -> np.ndarray:
        """(F, 3) triangles, counter-clockwise seen from outside."""
        return self.layer().faces.cpu().numpy()

    @property
    def is_whole(self) -> bool:
        """Whether the body has hands and a face of its own."""
        return self.jaw_pose is not None

    def parameters(self) -> dict[str, np.ndarray]:
        """Arguments of the body model, without ``transl``."""
        names = (*ROTATIONS, 'betas', 'expression')
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}

    def rotations(self) -> np.ndarray:
        """(joints, 3, 3) of all joints of the body model in its order, the root first; eyes look ahead."""
        if not self.is_whole:
            return np.concatenate([self.global_orient, self.body_pose])
        eyes = np.broadcast_to(np.eye(3, dtype=np.float32), (2, 3, 3))
        hands = self.left_hand_pose, self.right_hand_pose
        return np.concatenate([self.global_orient, self.body_pose, self.jaw_pose, eyes, *hands])


def _pose(meshes: Sequence[BodyMesh]) -> 'BodyOutput':
    """Pose bodies of one model at once."""
    import torch

    layer = meshes[0].layer()
    given = [mesh.parameters() for mesh in meshes]
    parameters = {name: np.stack([one[name] for one in given]) for name in given[0]}
    with torch.inference_mode():
        return layer(
            **{name: torch.as_tensor(array).to(layer.template) for name, array in parameters.items()}
        )


@dataclass
class Person:
    """One person on one frame.

    Attributes:
        bbox: (4,) left, top, right, bottom, pixels.
        keypoints: (K, 2) pixels.
        keypoint_scores: (K,).
        bbox_score: 0 to 1.
        track_id: The same number is the same person; None without tracking.
        mesh: The body, of mesh models.
    """

    bbox: np.ndarray
    keypoints: np.ndarray
    keypoint_scores: np.ndarray
    bbox_score: float = 1.0
    track_id: int | None = None
    mesh: BodyMesh | None = None


@dataclass
class FrameResult:
    """What was found on one frame.

    Attributes:
        source: Path of the image or video, ``camera 0`` or ``array``.
        frame_index: Number of the frame in its source, from 0.
        image_hw: Height and width, pixels.
        people: In the order of their boxes.
        keypoint_names: (K,).
        skeleton: Pairs of keypoint numbers that are joined by a line.
        model: Name of the config.
        time_s: Seconds from the start of a video or camera.
        image: (H, W, 3) uint8 BGR, or None in a result that was read from a file.
        kind: 'image', 'video', 'camera' or 'array'.
        sequence: Frames with the same one follow each other in time, see :class:`mmhier.media.Source`.
        fps: Frames per second of a video or camera, if it is known.
    """

    source: str
    frame_index: int
    image_hw: tuple[int, int]
    people: list[Person]
    keypoint_names: tuple[str, ...]
    skeleton: tuple[tuple[int, int], ...]
    model: str
    time_s: float | None = None
    image: np.ndarray | None = field(default=None, repr=False)
    kind: str = 'image'
    sequence: str = ''
    fps: float | None = None

    def to_json(self) -> dict[str, Any]:
        """A document of :data:`SCHEMA` with this frame alone; of numbers, strings, lists and dictionaries."""
        return header_to_json(self) | dict(complete=True, skipped=[], frames=[frame_to_json(self)])

    def vertices(self) -> list[np.ndarray | None]:
        """Pose all meshes at once: of each person (V, 3) metres in the camera, or None. They are not kept."""
        groups: dict[tuple, list[int]] = {}
        for number, person in enumerate(self.people):
            if person.mesh is not None:
                kind = (id(person.mesh.layer()), len(person.mesh.betas), person.mesh.is_whole)
                groups.setdefault(kind, []).append(number)
        found: list[np.ndarray | None] = [None] * len(self.people)
        for numbers in groups.values():
            meshes = [self.people[number].mesh for number in numbers]
            for number, mesh, vertices in zip(numbers, meshes, _pose(meshes).vertices.cpu().numpy()):
                found[number] = vertices + mesh.transl
        return found

    def draw(self, vertices: Sequence[np.ndarray | None] | None = None, **style: Any) -> np.ndarray:
        """Draw the people over a copy of the image: meshes if there are any, else skeletons.

        Args:
            vertices: Those of :meth:`vertices`, if they are there already.
            style: ``score_thr``, ``line_width``, ``boxes``, ``style``, ``colours`` and ``background``, see
                :class:`mmhier.visualization.style.Style`.

        Returns:
            (H, W, 3) uint8 BGR; on white if there is no image.

        Raises:
            ValueError: If a value of the style is unknown, or meshes are asked for where there are none.
        """
        from mmhier.visualization.mesh_renderer import render_people
        from mmhier.visualization.skeleton import draw_skeleton
        from mmhier.visualization.style import Style

        how = Style(**style)
        canvas = how.canvas(self.image, self.image_hw)
        bodies = None if how.style == 'skeleton' else self._bodies(vertices, how)
        if bodies is not None:
            canvas = render_people(canvas, *bodies, alpha=0.9)
        elif how.style in ('mesh', 'both') and self.people:
            raise ValueError(f'{self.model} predicts no meshes: style={how.style!r} needs a mesh model')
        if bodies is None or how.style == 'both':
            for number, person in zip(self._numbers(), self.people):
                draw_skeleton(
                    canvas, person.keypoints, person.keypoint_scores, self.keypoint_names, self.skeleton,
                    how, number,
                )  # fmt: skip
        self._label(canvas, how)
        return canvas

    def draw_side(
        self,
        vertices: Sequence[np.ndarray | None] | None = None,
        colours: str = 'auto',
        each: bool = False,
    ) -> np.ndarray:
        """Draw the meshes as seen from the right of the image, on white: (H, W, 3) uint8 BGR.

        Args:
            vertices: Those of :meth:`vertices`, if they are there already.
            colours: 'side': all are blue; 'person' and 'auto': everybody has a colour, the first blue.
            each: Everybody in a field of their own, as large as it allows, in the order of the frame; else
                all in one scene, at their distances.

        Raises:
            ValueError: If there are people without a mesh.
        """
        from mmhier.visualization.mesh_renderer import side_view
        from mmhier.visualization.style import Style

        bodies = self._bodies(vertices, Style(colours='person' if colours == 'auto' else colours))
        if bodies is None:
            if self.people:
                raise ValueError(f'{self.model} predicts no meshes: a view from the side needs a mesh model')
            return np.full((*self.image_hw, 3), 255, np.uint8)
        posed, faces, focal, _, colours = bodies
        if not each:
            return side_view(posed, faces, focal, self.image_hw, colours)
        height, width = self.image_hw
        canvas = np.full((height, width, 3), 255, np.uint8)
        columns = min(len(posed), math.ceil(math.sqrt(len(posed) * _TALL * width / height)))
        rows = math.ceil(len(posed) / max(columns, 1))
        for number in range(len(posed)):
            row, column = divmod(number, columns)
            top, bottom = (height * edge // rows for edge in (row, row + 1))
            left, right = (width * edge // columns for edge in (column, column + 1))
            one = slice(number, number + 1)
            field_hw = (bottom - top, right - left)
            canvas[top:bottom, left:right] = side_view(posed[one], faces, focal, field_hw, colours[one])
        return canvas

    def _numbers(self) -> list[int]:
        """What people have their colours by, from 0: the track, or the place in the frame without one."""
        return [
            place if person.track_id is None else person.track_id - 1
            for place, person in enumerate(self.people)
        ]

    def _bodies(self, vertices: Sequence[np.ndarray | None] | None, style: 'Style') -> tuple | None:
        """Vertices in the camera, faces, focal length, centre and colours of all meshes."""
        meshes = [person.mesh for person in self.people if person.mesh is not None]
        if not meshes:
            return None
        posed = self.vertices() if vertices is None else vertices
        vertices = np.stack([array for array in posed if array is not None])
        numbers = [number for number, person in zip(self._numbers(), self.people) if person.mesh is not None]
        finite = np.isfinite(vertices).all(axis=(1, 2))
        height, width = self.image_hw
        # Keypoints count pixels from the centre of the first one, the renderer from its corner.
        center = ((width + 1) / 2, (height + 1) / 2)
        colours = np.stack([style.body_colour(number) for number in numbers])
        return vertices[finite], meshes[0].faces, meshes[0].focal_length, center, colours[finite]

    def _label(self, canvas: np.ndarray, style: 'Style') -> None:
        """Draw boxes, if they are wanted, and track numbers."""
        from mmhier.visualization.labels import draw_box, draw_number
        from mmhier.visualization.skeleton import drawn_keypoints
        from mmhier.visualization.style import person_colour, person_size

        for number, person in zip(self._numbers(), self.people):
            seen = person.keypoints[drawn_keypoints(person.keypoints, person.keypoint_scores, style)]
            size = person_size(person.bbox, seen)
            own = style.colours == 'person' or person.track_id is not None
            if style.boxes:
                draw_box(canvas, person.bbox, style.width(size), person_colour(number) if own else None)
            if person.track_id is not None:
                draw_number(canvas, person.track_id, person.bbox, size, person_colour(number))


def header_to_json(result: FrameResult) -> dict[str, Any]:
    """What all frames of a run share."""
    return dict(
        schema=SCHEMA,
        version=VERSION,
        generator=f'mmhier {__version__}',
        model=result.model,
        keypoint_names=list(result.keypoint_names),
        skeleton=[list(link) for link in result.skeleton],
        conventions=CONVENTIONS,
    )


def frame_to_json(result: FrameResult) -> dict[str, Any]:
    """One frame."""
    return dict(
        source=result.source,
        kind=result.kind,
        sequence=result.sequence,
        fps=result.fps,
        frame_index=result.frame_index,
        time_s=result.time_s,
        image_hw=list(result.image_hw),
        people=[_person_to_json(person) for person in result.people],
    )


def check_schema(header: dict[str, Any]) -> None:
    """Refuse a document of another schema or of a newer version with a ValueError."""
    schema, version = header.get('schema'), header.get('version')
    if schema != SCHEMA or not isinstance(version, int) or version > VERSION:
        raise ValueError(
            f'this is {schema!r} version {version!r}; this mmhier reads {SCHEMA!r} up to version {VERSION}'
        )


def frame_from_json(frame: dict[str, Any], header: dict[str, Any]) -> FrameResult:
    """Inverse of :func:`frame_to_json`, without the image.

    Raises:
        ValueError: If the document is of another schema or of a newer version.
    """
    check_schema(header)
    return FrameResult(
        **{name: frame[name] for name in ('source', 'kind', 'sequence', 'fps', 'frame_index', 'time_s')},
        image_hw=tuple(frame['image_hw']),
        people=[_person_from_json(person) for person in frame['people']],
        keypoint_names=tuple(header['keypoint_names']),
        skeleton=tuple(tuple(link) for link in header['skeleton']),
        model=header['model'],
    )


def _person_to_json(person: Person) -> dict[str, Any]:
    content = {name: _numbers(person, name) for name in ('bbox', 'keypoints', 'keypoint_scores')}
    content['bbox_score'] = round(float(person.bbox_score), 5)
    if person.track_id is not None:
        content['track_id'] = int(person.track_id)
    if person.mesh is not None:
        fields = (*BODY_FIELDS, *(WHOLE_BODY_FIELDS if person.mesh.is_whole else ()))
        content['mesh'] = {name: _numbers(person.mesh, name) for name in fields}
        content['mesh']['focal_length'] = round(float(person.mesh.focal_length), 3)
        content['mesh'] |= {
            name: getattr(person.mesh, name) for name in ('focal_source', 'body_model', 'joint_set')
        }
    return content


def _person_from_json(content: dict[str, Any]) -> Person:
    mesh = None
    if 'mesh' in content:
        fields = content['mesh'].items()
        mesh = BodyMesh(**{n: np.asarray(v, np.float32) if isinstance(v, list) else v for n, v in fields})
    arrays = {
        name: np.asarray(content[name], np.float32) for name in ('bbox', 'keypoints', 'keypoint_scores')
    }
    return Person(**arrays, bbox_score=content['bbox_score'], track_id=content.get('track_id'), mesh=mesh)


def _numbers(owner: Any, name: str) -> list:
    values = np.round(np.asarray(getattr(owner, name), np.float64), _DECIMALS[name])
    return values.tolist() if np.isfinite(values).all() else _with_nulls(values.tolist())


def _with_nulls(values: Any) -> Any:
    """JSON has no NaN: such a number becomes null, and NaN again when it is read."""
    if isinstance(values, list):
        return [_with_nulls(value) for value in values]
    return values if np.isfinite(values) else None
