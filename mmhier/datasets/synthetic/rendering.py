"""From a scene to a picture: z-buffer, light, shadows, background and the flaws of a camera.

Letters: H, W image size; P visible pixels of an object. Colours are RGB until the final image, which is BGR.
"""

from typing import NamedTuple

import cv2
import numpy as np

from mmhier.datasets.synthetic.annotation import Annotation, annotate
from mmhier.datasets.synthetic.appearance import paint
from mmhier.datasets.synthetic.background import render_background
from mmhier.datasets.synthetic.camera import SUPERSAMPLING, Camera
from mmhier.datasets.synthetic.people import BodyKit, Person
from mmhier.datasets.synthetic.scene import SCENE_STYLES, Scene, SceneStyle, sample_scene
from mmhier.datasets.synthetic.whole_body_annotation import WholeBodyKit
from mmhier.rasterizer import FrameBuffer, project, vertex_normals


class Light(NamedTuple):
    """Unit world direction towards the lamp, its colour, the ambient colours of sky and floor."""

    direction: np.ndarray
    colour: np.ndarray
    sky: np.ndarray
    floor: np.ndarray


def render_image(
    rng: np.random.Generator,
    kit: BodyKit,
    image_hw: tuple[int, int],
    style: SceneStyle = SCENE_STYLES['varied'],
    whole: WholeBodyKit | None = None,
) -> tuple[np.ndarray, np.ndarray, list[Annotation]]:
    """Make one image.

    Args:
        rng: the image's own random generator.
        kit: the body.
        image_hw: height and width.
        style: how hard the image is.
        whole: of a whole body: what the truth about hands and face needs.

    Returns:
        (H, W, 3) uint8 BGR image, intrinsics K (3, 3), one annotation per visible person.
    """
    scene = sample_scene(rng, kit, image_hw, style)
    buffer = draw_scene(scene, kit)
    image = shade_scene(rng, scene, kit, buffer)
    found = [
        annotate(number, person, buffer, scene.camera, kit, whole)
        for number, person in enumerate(scene.people)
    ]
    return image, scene.camera.intrinsics, [annotation for annotation in found if annotation is not None]


def draw_scene(scene: Scene, kit: BodyKit) -> FrameBuffer:
    """Rasterise at ``SUPERSAMPLING`` times the image size: people are objects 0, 1 ..., props follow."""
    camera, people, props, _ = scene
    height, width = camera.image_hw
    buffer = FrameBuffer((height * SUPERSAMPLING, width * SUPERSAMPLING))
    k = camera.fine_intrinsics()
    for number, person in enumerate(people):
        buffer.draw(project(camera.to_camera(person.vertices), k), kit.faces, number)
    for number, prop in enumerate(props, start=len(people)):
        buffer.draw(project(camera.to_camera(prop.vertices), k), prop.faces, number)
    return buffer


def sample_light(rng: np.random.Generator) -> Light:
    """Draw a lamp and ambient light."""
    azimuth, height = rng.uniform(0, 2 * np.pi), rng.uniform(0.35, 1.35)
    direction = np.array([np.cos(azimuth) * np.cos(height), np.sin(height), np.sin(azimuth) * np.cos(height)])
    if rng.random() < 0.7:
        # Mostly from the camera's side, as photographers do.
        direction[2] = -abs(direction[2])
    warmth = rng.normal(0.0, 0.06)
    tint = np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    strength, ambient = rng.uniform(0.45, 0.95), rng.uniform(0.32, 0.6)
    return Light(
        direction, strength * tint, ambient * rng.uniform(0.95, 1.1, 3), ambient * rng.uniform(0.5, 0.8, 3)
    )


def shade_scene(rng: np.random.Generator, scene: Scene, kit: BodyKit, buffer: FrameBuffer) -> np.ndarray:
    """Colour the rasterised scene over a background; (H, W, 3) uint8 BGR."""
    camera, people, props, distance = scene
    height, width = camera.image_hw
    light = sample_light(rng)
    canvas = np.zeros((len(buffer.objects), 3), np.float32)
    for number, person in enumerate(people):
        surface = buffer.gather(number)
        if len(surface.pixels):
            normals = vertex_normals(person.vertices, kit.faces)
            attributes = surface.interpolate(kit.faces, np.concatenate([kit.attributes, normals], axis=1))
            kinds = np.round(attributes[:, 3]) if kit.is_whole else None
            albedo, gloss = paint(person.outfit, kit.marks, attributes[:, :3], kinds)
            view = camera.rotation[2].astype(np.float32)
            canvas[surface.pixels] = _illuminate(light, albedo, gloss, attributes[:, -3:], view)
    for number, prop in enumerate(props, start=len(people)):
        surface = buffer.gather(number)
        normals = prop.normals[surface.faces].astype(np.float32)
        view = camera.rotation[2].astype(np.float32)
        matt = np.full(len(normals), 0.04, np.float32)
        canvas[surface.pixels] = _illuminate(
            light, prop.colours[surface.faces].astype(np.float32), matt, normals, view
        )
    fine_hw = (height * SUPERSAMPLING, width * SUPERSAMPLING)
    cover = (buffer.objects >= 0).astype(np.float32).reshape(fine_hw)
    front = cv2.resize(canvas.reshape(*fine_hw, 3), (width, height), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(cover, (width, height), interpolation=cv2.INTER_AREA)[..., None]

    back = render_background(rng, camera.rays(), camera.position[1], distance)
    back *= (0.75 * light.sky + 0.35 * light.colour).astype(np.float32)
    back *= 1.0 - _ground_shadow(camera, people, light)[..., None]
    back = cv2.GaussianBlur(back, (0, 0), rng.uniform(0.3, 1.4))
    image = back * (1.0 - alpha) + front
    return _photograph(rng, image)


def _illuminate(
    light: Light, albedo: np.ndarray, gloss: np.ndarray, normals: np.ndarray, view: np.ndarray
) -> np.ndarray:
    """Diffuse, hemispheric ambient and a highlight for unit-ish normals (P, 3) seen along ``view``."""
    lamp, sky, floor, colour = (part.astype(np.float32) for part in light)
    half = lamp - view
    half /= np.sqrt(half @ half)
    # Lengths of the interpolated normals, and their angles with lamp, viewer and highlight, in one product.
    length = np.sqrt(np.maximum((normals * normals) @ np.ones(3, np.float32), 1e-12))
    direct, facing, mirror = (normals @ np.stack([lamp, -view, half], axis=1) / length[:, None]).T
    diffuse = np.clip((direct + 0.15) / 1.15, 0.0, 1.0)[:, None]
    up = (0.5 + 0.5 * normals[:, 1] / length)[:, None]
    # Grazing surfaces are a little darker, which rounds the limbs.
    rim = (0.82 + 0.18 * np.clip(facing, 0.0, 1.0))[:, None]
    shine = (np.clip(mirror, 0.0, 1.0) ** 24 * gloss)[:, None]
    return albedo * rim * (floor + up * (sky - floor) + diffuse * colour) + shine * colour


def _ground_shadow(camera: Camera, people: list[Person], light: Light) -> np.ndarray:
    """(H, W) darkness of the floor: vertices cast along the light, and a soft contact shadow below."""
    height, width = camera.image_hw
    shadow = np.zeros((height, width), np.float32)
    k = camera.intrinsics
    for person in people:
        for direction, strength in ((light.direction, 0.45), (np.array([0.0, 1.0, 0.0]), 0.35)):
            points = person.vertices - person.vertices[:, 1:2] / direction[1] * direction
            screen = project(camera.to_camera(points), k)
            screen = screen[screen[:, 2] > 0.1]
            if not len(screen):
                continue
            column, row = np.round(screen[:, 0]), np.round(screen[:, 1])
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            spots = np.zeros((height, width), np.float32)
            spots[row[inside].astype(int), column[inside].astype(int)] = strength
            size = max(3, int(0.05 * k[0, 0] / max(float(np.median(screen[:, 2])), 0.3)) | 1)
            spots = cv2.dilate(spots, np.ones((size, size), np.uint8))
            shadow = np.maximum(shadow, cv2.blur(spots, (size, size)))
    return shadow


def _photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Exposure, contrast, tint, softness and sensor noise; RGB float in, BGR uint8 out."""
    height, width = image.shape[:2]
    # Automatic exposure, imperfect on purpose.
    exposure = np.clip(rng.uniform(0.32, 0.5) / max(float(image.mean()), 0.05), 0.7, 2.4)
    image = np.maximum(image * (exposure * rng.uniform(0.96, 1.04, 3)).astype(np.float32), 0.0)
    # A soft shoulder keeps bright cloth from burning out.
    bright = np.maximum(image - 0.75, 0.0)
    image += bright / (1.0 + 2.0 * bright) - bright
    image = cv2.pow(image, rng.uniform(0.8, 1.1))
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 0.8))
    grain = rng.standard_normal((height, width, 1), dtype=np.float32) * np.float32(rng.uniform(0.0, 0.02))
    image = np.clip((image + grain) * 255.0 + 0.5, 0.0, 255.0).astype(np.uint8)
    return np.ascontiguousarray(image[..., ::-1])
