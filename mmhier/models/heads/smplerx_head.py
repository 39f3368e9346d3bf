"""SMPLer-X: body, hands and face of SMPL-X from a feature map and 31 tokens.

Cai et al., "SMPLer-X: Scaling Up Expressive Human Pose and Shape Estimation", NeurIPS 2023, arXiv 2309.17448.
The graph and its numbers are those of the official code (S-Lab License, non-commercial; nothing of it is
here); its checkpoints are converted by :mod:`mmhier.convert.smplerx`.

Map and tokens come from an encoder with task tokens (:class:`mmhier.models.backbones.vit.ViT`) or, for an
encoder without them, from :class:`mmhier.models.heads.token_decoder.TokenDecoder`.

========= =================================================================================
tokens    read for
========= =================================================================================
0, 1      shape, camera
2, 3      expression, jaw
4, 5      hands; the official graph computes them and reads them nowhere, and so does this
6 to 30   one for each of the 25 points of the body
========= =================================================================================

A network of positions finds the body's points, another one boxes of hands and face. The hands' features are
cut out of a finer map by their boxes, the left one mirrored, so that one network regresses both. The face's
box is predicted, but nothing is cut out for it.

Differences from the official code, none of which changes what released weights give: the cross product
of the 6-D rotations is taken per rotation in batches of three too (there it mixes the rotations of the three
people); a rotation that the official code finds to be NaN is no rotation here either, but close to one.

Convention:
    Rotations are axis-angle in radians, relative to the parent; the root's is in the frame of the camera (x
    right, y down, z forward), about the pelvis. Hands are relative to SMPL-X's mean hands
    (``add_hand_means=True``). They come from six numbers each, rows of the first two columns of a matrix
    ('interleaved' in :mod:`mmhier.geometry.rotations`). Points are in cells of a grid: x to the right, y
    down, z away from the viewer. The body's grid has a cell for each of the map's and ``DEPTH_CELLS`` along
    z, the hands' have 16 of each and lie in their boxes.

Letters: B batch, C channels of the map and width of the tokens, h x w the map (16 x 12), K points.
"""

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from mmpose.registry import MODELS
from torch import Tensor, nn
from torch.nn import functional as F

from mmhier.geometry.cameras import translation_to_weak_perspective
from mmhier.geometry.rotations import matrix_to_axis_angle, rotation_6d_to_matrix
from mmhier.ops.roi_align import roi_align

NUM_TOKENS = 31
SHAPE, CAMERA, EXPRESSION, JAW = 0, 1, 2, 3
BODY_TOKENS = slice(6, 31)
NUM_BODY_POINTS, NUM_HAND_POINTS = 25, 20
NUM_BODY_ROTATIONS, NUM_HAND_ROTATIONS = 21, 15
NUM_BETAS, NUM_EXPRESSIONS = 10, 10
DEPTH_CELLS, HAND_CELLS = 16, 16
FEATURES = 512  # of a point
MAP_HW = (16, 12)
INPUT_SIZE_WH = (192, 256)
PARTS = ('left_hand', 'right_hand', 'face')
# How much larger than the predicted box a part is cut out.
BOX_SCALES = dict(left_hand=2.0, right_hand=2.0, face=1.5)
# The camera: focal lengths and principal point in pixels of the network's input.
FOCAL, CAMERA_RANGE = 5000.0, 2.5
PRINCIPAL_POINT = (96.0, 128.0)
INIT = (
    dict(type='Normal', std=0.001, layer=['Conv2d', 'ConvTranspose2d']),
    dict(type='Normal', std=0.01, layer='Linear'),
    dict(type='Constant', val=1.0, layer='BatchNorm2d'),
)


class SMPLerXPrediction(NamedTuple):
    """What the head says of one person per image.

    Attributes:
        global_orient: (B, 3).
        body_pose: (B, 63).
        left_hand_pose: (B, 45).
        right_hand_pose: (B, 45).
        jaw_pose: (B, 3).
        betas: (B, 10).
        expression: (B, 10).
        transl: (B, 3) metres, from the camera to SMPL-X's origin.
        points: (B, 65, 3) the set ``smplx65``: the body's in cells of its grid, then the hands' in theirs.
        box_centers: (B, 3, 2) centres of the boxes of :data:`PARTS`, cells of the map.
        box_sizes: (B, 3, 2) their widths and heights, cells of the map.
        boxes: (B, 3, 4) what is cut out, x0, y0, x1, y1, pixels of the network's input; without gradient.
    """

    global_orient: Tensor
    body_pose: Tensor
    left_hand_pose: Tensor
    right_hand_pose: Tensor
    jaw_pose: Tensor
    betas: Tensor
    expression: Tensor
    transl: Tensor
    points: Tensor
    box_centers: Tensor
    box_sizes: Tensor
    boxes: Tensor

    @property
    def pose(self) -> Tensor:
        """(B, 159) rotations in the order of the set ``smplx53``."""
        hands = self.left_hand_pose, self.right_hand_pose
        return torch.cat([self.global_orient, self.body_pose, *hands, self.jaw_pose], dim=1)

    @property
    def body(self) -> dict[str, Tensor]:
        """Arguments of :class:`mmhier.body_models.smplx.SMPLX`; the body stands at the origin."""
        left_out = ('transl', 'points', 'box_centers', 'box_sizes', 'boxes')
        return {name: value for name, value in self._asdict().items() if name not in left_out}

    @property
    def camera(self) -> Tensor:
        """(B, 3), ``(s, tx, ty)`` of :mod:`mmhier.geometry.cameras`, which say the same as ``transl``."""
        return translation_to_weak_perspective(self.transl, FOCAL, float(INPUT_SIZE_WH[1]))


def full(x: Tensor) -> Tensor:
    """At least float32, whatever autocast made of it."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def spatial_softmax(logits: Tensor) -> Tensor:
    """Softmax over all axes but the first two."""
    return logits.flatten(2).softmax(-1).view_as(logits)


def expected_place(weights: Tensor) -> Tensor:
    """Mean place, in cells, of weights (B, K, ...) that sum to one.

    Returns:
        (B, K, axes), the last axis of the weights first: x, y (, z).
    """
    axes = range(weights.ndim - 1, 1, -1)
    places = []
    for axis in axes:
        others = tuple(other for other in axes if other != axis)
        cells = torch.arange(weights.shape[axis], dtype=weights.dtype, device=weights.device)
        places.append((weights.sum(dim=others) * cells).sum(-1))
    return torch.stack(places, dim=-1)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of maps (B, C, h, w) at points (B, K, 2) in cells: (B, K, C); zero outside."""
    last = torch.tensor([maps.shape[3] - 1, maps.shape[2] - 1], dtype=points.dtype, device=points.device)
    grid = (points / last * 2 - 1)[:, :, None]
    return F.grid_sample(maps, grid.to(maps.dtype), align_corners=True)[..., 0].transpose(1, 2)


def rotations(six: Tensor) -> Tensor:
    """Axis-angle (B, 3 * n) from 6-D rotations (B, 6 * n)."""
    matrices = rotation_6d_to_matrix(full(six).unflatten(1, (-1, 6)), 'interleaved')
    return matrix_to_axis_angle(matrices).flatten(1)


def cut_boxes(centers: Tensor, sizes: Tensor) -> Tensor:
    """Squares around the boxes of the parts, enlarged.

    Args:
        centers: (B, 3, 2), cells of the map.
        sizes: (B, 3, 2), cells of the map.

    Returns:
        (B, 3, 4) x0, y0, x1, y1 in pixels of the network's input.
    """
    pixels = torch.tensor(INPUT_SIZE_WH, dtype=centers.dtype, device=centers.device)
    pixels = pixels / torch.tensor(MAP_HW[::-1], dtype=centers.dtype, device=centers.device)
    scale = torch.tensor([BOX_SCALES[part] for part in PARTS], dtype=centers.dtype, device=centers.device)
    half = (sizes * pixels).amax(dim=2, keepdim=True) * scale[:, None] / 2
    return torch.cat([centers * pixels - half, centers * pixels + half], dim=2)


def deconvolutions(*channels: int) -> nn.Sequential:
    """Layers that double the map each: transposed convolution, batch norm, ReLU."""
    layers = []
    for before, after in pairwise(channels):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers)


class PositionNet(nn.Module):
    """Points in a volume over the map."""

    def __init__(self, in_channels: int, num_points: int, depth: int):
        super().__init__()
        self.num_points = num_points
        self.conv = nn.Conv2d(in_channels, num_points * depth, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, h, w) to the points' volumes (B, K, depth, h, w) and places (B, K, 3) in cells."""
        volumes = spatial_softmax(full(self.conv(x)).unflatten(1, (self.num_points, -1)))
        return volumes, expected_place(volumes)


class BodyRegressor(nn.Module):
    """Rotations of the body, its shape and the camera."""

    def __init__(self, dims: int):
        super().__init__()
        inputs = NUM_BODY_POINTS * (FEATURES + 3)
        self.token_fc = nn.Linear(dims, FEATURES)
        self.root_readout = nn.Linear(inputs, 6)
        self.body_readout = nn.Linear(inputs, 6 * NUM_BODY_ROTATIONS)
        self.shape_readout = nn.Linear(dims, NUM_BETAS)
        self.camera_readout = nn.Linear(dims, 3)

    def forward(self, tokens: Tensor, points: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Read tokens (B, 31, C) and points (B, 25, 3).

        Returns:
            Root (B, 6), body (B, 126), shape (B, 10) and camera (B, 3) as the layers give them.
        """
        features = self.token_fc(tokens[:, BODY_TOKENS])
        x = torch.cat([features, points.to(features)], dim=2).flatten(1)
        readouts = self.shape_readout(tokens[:, SHAPE]), self.camera_readout(tokens[:, CAMERA])
        return self.root_readout(x), self.body_readout(x), *readouts


class BoxNet(nn.Module):
    """Boxes of hands and face."""

    def __init__(self, in_channels: int, channels: int):
        super().__init__()
        self.deconv = deconvolutions(in_channels + NUM_BODY_POINTS * DEPTH_CELLS, *[channels] * 3)
        self.center_conv = nn.Conv2d(channels, len(PARTS), 1)
        self.sizes = nn.ModuleDict(
            {
                part: nn.Sequential(nn.Linear(channels, channels), nn.ReLU(), nn.Linear(channels, 2))
                for part in PARTS
            }
        )

    def forward(self, x: Tensor, volumes: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, C, h, w) and the body's volumes to centres and sizes (B, 3, 2), cells of the map."""
        x = self.deconv(torch.cat([x, volumes.flatten(1, 2).to(x)], dim=1))
        centers = expected_place(spatial_softmax(full(self.center_conv(x))))
        features = sample_points(x, centers.detach())
        sizes = [size(features[:, index]) for index, size in enumerate(self.sizes.values())]
        return centers / 8, full(torch.stack(sizes, dim=1))


class HandCrop(nn.Module):
    """Features of both hands, as right hands."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.deconv = deconvolutions(in_channels, in_channels // 2, in_channels // 4)
        self.conv = nn.Conv2d(in_channels // 4, in_channels, 1)

    def forward(self, x: Tensor, boxes: Tensor) -> Tensor:
        """Map (B, C, h, w) and boxes (B, 3, 4) in pixels to (2 B, C, 16, 16), left hands first."""
        fine = self.deconv(x)
        per_pixel = fine.shape[3] / INPUT_SIZE_WH[0]
        left, right = (roi_align(fine, boxes[:, side] * per_pixel, HAND_CELLS) for side in (0, 1))
        return self.conv(torch.cat([left.flip(3), right]))


class HandRegressor(nn.Module):
    """Rotations of a hand from its features at its points."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, FEATURES, 1)
        self.norm = nn.BatchNorm2d(FEATURES)
        self.readout = nn.Linear(NUM_HAND_POINTS * (FEATURES + 3), 6 * NUM_HAND_ROTATIONS)

    def forward(self, x: Tensor, points: Tensor) -> Tensor:
        """Map (B, C, 16, 16) and points (B, 20, 3) to (B, 90)."""
        x = F.relu(self.norm(self.conv(x)))
        features = sample_points(x, points[:, :, :2])
        return self.readout(torch.cat([features, points.to(features)], dim=2).flatten(1))


class FaceRegressor(nn.Module):
    """Expression and jaw."""

    def __init__(self, dims: int):
        super().__init__()
        self.expression_readout = nn.Linear(dims, NUM_EXPRESSIONS)
        self.jaw_readout = nn.Linear(dims, 6)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Read tokens (B, 31, C): (B, 10) and (B, 6)."""
        return self.expression_readout(tokens[:, EXPRESSION]), self.jaw_readout(tokens[:, JAW])


def camera_translation(camera: Tensor) -> Tensor:
    """Metres (B, 3) from what the camera's read-out gives; the distance is positive and bounded."""
    width, height = INPUT_SIZE_WH
    farthest = FOCAL * CAMERA_RANGE / math.sqrt(width * height)
    return torch.cat([camera[:, :2], farthest * camera[:, 2:].sigmoid()], dim=1)


def project(points: Tensor) -> Tensor:
    """Pixels (B, K, 2) of the network's input of points (B, K, 3) in the frame of the camera, metres."""
    center = torch.tensor(PRINCIPAL_POINT, dtype=points.dtype, device=points.device)
    return FOCAL * points[..., :2] / (points[..., 2:] + 1e-4) + center


def unmirrored_hand(pose: Tensor) -> Tensor:
    """The left hand's rotations (B, 45) of those of a right hand, its mirror image."""
    sign = torch.tensor([1.0, -1.0, -1.0], dtype=pose.dtype, device=pose.device)
    return (pose.unflatten(1, (-1, 3)) * sign).flatten(1)


@MODELS.register_module()
class SMPLerXHead(BaseModule):
    """Regress a whole body from a map of 16 x 12 and 31 tokens.

    Args:
        in_channels: C, a multiple of 4.
        tokens: Config of what makes tokens of a map, :class:`mmhier.models.heads.TokenDecoder`, for encoders
            without task tokens. By default the encoder gives them.
        box_channels: Width of the net of boxes; the official one is half of the head's work.
        init_cfg: Initial weights; by default the official ones.
    """

    layout = 'smplx'  # of the samples that it learns from
    # Of the prediction, what a body is made of, and where its parts are.
    outputs = (
        'global_orient', 'body_pose', 'left_hand_pose', 'right_hand_pose', 'jaw_pose', 'betas', 'expression',
        'camera', 'boxes',
    )  # fmt: skip
    num_betas = NUM_BETAS
    input_size_wh = INPUT_SIZE_WH  # in pixels of such an input boxes are given

    def __init__(
        self,
        in_channels: int,
        tokens: dict | None = None,
        box_channels: int = 256,
        init_cfg: dict | list | None = None,
    ):
        super().__init__(init_cfg=list(INIT) if init_cfg is None else init_cfg)
        if in_channels % 4:
            raise ValueError(f'in_channels must be divisible by 4, got {in_channels}')
        self.in_channels = in_channels
        self.decoder = None if tokens is None else MODELS.build(dict(tokens, in_channels=in_channels))
        self.body_position = PositionNet(in_channels, NUM_BODY_POINTS, DEPTH_CELLS)
        self.body_regressor = BodyRegressor(in_channels)
        self.box_net = BoxNet(in_channels, box_channels)
        self.hand_crop = HandCrop(in_channels)
        self.hand_position = PositionNet(in_channels, NUM_HAND_POINTS, HAND_CELLS)
        self.hand_regressor = HandRegressor(in_channels)
        self.face_regressor = FaceRegressor(in_channels)

    def forward(self, features: Tensor | tuple[Tensor, ...]) -> SMPLerXPrediction:
        """Regress one person per image.

        Args:
            features: Map (B, C, 16, 12) and tokens (B, 31, C); with ``tokens`` the map alone, or several
                maps of which the last is used.

        Returns:
            Float32, under autocast too.

        Raises:
            ValueError: If there are other maps or tokens.
        """
        if self.decoder is not None:
            last = features if isinstance(features, Tensor) else features[-1]
            features = last, self.decoder(last)
        wanted = ((self.in_channels, *MAP_HW), (NUM_TOKENS, self.in_channels))
        if len(features) != 2 or tuple(tuple(value.shape[1:]) for value in features) != wanted:
            raise ValueError(
                f'expected a map (B, {self.in_channels}, {MAP_HW[0]}, {MAP_HW[1]}) of images of 256 x 192 '
                f'and tokens (B, {NUM_TOKENS}, {self.in_channels}), got '
                f'{[tuple(value.shape) for value in features]}: build the encoder with '
                f'num_task_tokens={NUM_TOKENS}, or put a TokenDecoder behind it (tokens)'
            )
        x, tokens = features
        volumes, body_points = self.body_position(x)
        root, body, betas, camera = self.body_regressor(tokens, body_points.detach())
        centers, sizes = self.box_net(x, volumes.detach())
        boxes = cut_boxes(centers, sizes).detach()
        hands = self.hand_crop(x, boxes)
        _, hand_points = self.hand_position(hands)
        hand_poses = rotations(self.hand_regressor(hands, hand_points.detach()))
        batch = x.shape[0]  # cut by number: a program that is exported takes any
        left_pose, right_pose = hand_poses[:batch], hand_poses[batch:]
        left_points, right_points = hand_points[:batch], hand_points[batch:]
        left_points = torch.cat([HAND_CELLS - 1 - left_points[..., :1], left_points[..., 1:]], dim=2)
        expression, jaw = self.face_regressor(tokens)
        return SMPLerXPrediction(
            global_orient=rotations(root),
            body_pose=rotations(body),
            left_hand_pose=unmirrored_hand(left_pose),
            right_hand_pose=right_pose,
            jaw_pose=rotations(jaw),
            betas=full(betas),
            expression=full(expression),
            transl=camera_translation(full(camera)),
            points=torch.cat([body_points, left_points, right_points], dim=1),
            box_centers=centers,
            box_sizes=sizes,
            boxes=boxes,
        )
