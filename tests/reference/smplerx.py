"""SMPLer-X written out: one image, one box and one point at a time.

Slow on purpose and without any shortcut; no layer of torch.nn is used but transposed convolutions and batch
norms. Keys are those of the official checkpoints; the graph is that of arXiv 2309.17448 and its released
configuration. The encoder is ViTPose's (``tests/reference/vit.py``) with 31 tokens before the patches.
"""

import math
import runpy
from pathlib import Path

import torch

VIT = runpy.run_path(str(Path(__file__).with_name('vit.py')))
PIXELS_PER_CELL = 16
BN_EPS = 1e-5


def smplerx(state, images, num_heads):
    """Parameters of the body in each image (3, 512, 384), values in 0 to 1."""
    bodies = [one_person(state, image, num_heads) for image in images]
    return {name: torch.stack([body[name] for body in bodies]) for name in bodies[0]}


def one_person(state, image, num_heads):
    feature_map, tokens = encoder(part_of(state, 'encoder.'), image[:, ::2, ::2], num_heads)
    body_volumes, body_points = position_net(state, 'body_position_net', feature_map, 25)
    features = [dense(state, 'body_regressor.body_conv.0', tokens[6 + k]) for k in range(25)]
    x = torch.cat([torch.cat([feature, point]) for feature, point in zip(features, body_points)])
    pose = dense(state, 'body_regressor.body_pose_out.0', x)
    sides, centers, sizes = box_net(state, feature_map, body_volumes)
    fine = deconvolved(state, 'hand_roi_net.deconv', feature_map, 2)
    left = torch.flip(roi_align(fine, [side / 4 for side in sides[0]]), [2])
    right = roi_align(fine, [side / 4 for side in sides[1]])
    hands = [hand(state, crop) for crop in (left, right)]
    left_points = hands[0][1].clone()
    left_points[:, 0] = 15 - left_points[:, 0]
    left_pose = hands[0][0].reshape(15, 3) * torch.tensor([1.0, -1.0, -1.0])
    camera = dense(state, 'body_regressor.cam_out.0', tokens[1])
    distance = math.sqrt(5000**2 * 2.5**2 / (256 * 192)) / (1 + torch.exp(-camera[2]))
    return {
        'global_orient': axis_angle(dense(state, 'body_regressor.root_pose_out.0', x)),
        'body_pose': torch.cat([axis_angle(six) for six in pose.split(6)]),
        'left_hand_pose': left_pose.flatten(),
        'right_hand_pose': hands[1][0],
        'jaw_pose': axis_angle(dense(state, 'face_regressor.jaw_pose_out.0', tokens[3])),
        'betas': dense(state, 'body_regressor.shape_out.0', tokens[0]),
        'expression': dense(state, 'face_regressor.expr_out.0', tokens[2]),
        'transl': torch.stack([camera[0], camera[1], distance]),
        'points': torch.cat([body_points, left_points, hands[1][1]]),
        'box_centers': centers,
        'box_sizes': sizes,
        'boxes': torch.tensor(sides),
    }


def part_of(state, prefix):
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def encoder(state, image, num_heads):
    """The closed map (C, 16, 12) and tokens (31, C)."""
    weight, bias = state['patch_embed.proj.weight'], state['patch_embed.proj.bias']
    padded = torch.zeros(3, image.shape[1] + 16, image.shape[2] + 16)
    padded[:, 2 : 2 + image.shape[1], 2 : 2 + image.shape[2]] = image
    rows, columns = image.shape[1] // 16, image.shape[2] // 16
    positions = state['pos_embed'][0]
    patches = []
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            token = (weight * patch).sum((1, 2, 3)) + bias
            patches.append(token + positions[1 + len(patches)] + positions[0])
    x = torch.cat([state['task_tokens'][0], torch.stack(patches)])
    block = 0
    while f'blocks.{block}.norm1.weight' in state:
        own = part_of(state, f'blocks.{block}.')
        x = x + VIT['attention'](own, VIT['norm'](own, 'norm1', x), num_heads)
        x = x + VIT['mlp'](own, VIT['norm'](own, 'norm2', x))
        block += 1
    x = VIT['norm'](state, 'last_norm', x)
    return x[31:].t().reshape(-1, rows, columns), x[:31]


def dense(state, name, x):
    return state[f'{name}.weight'] @ x + state[f'{name}.bias']


def pointwise(state, name, x):
    """A 1 x 1 convolution of a map (C, h, w)."""
    weight = state[f'{name}.weight'][:, :, 0, 0]
    return torch.einsum('oc,chw->ohw', weight, x) + state[f'{name}.bias'][:, None, None]


def normed(state, name, x):
    """Batch norm with the running numbers."""
    mean, variance = state[f'{name}.running_mean'], state[f'{name}.running_var']
    scale = state[f'{name}.weight'] / (variance + BN_EPS).sqrt()
    return (x - mean[:, None, None]) * scale[:, None, None] + state[f'{name}.bias'][:, None, None]


def deconvolved(state, name, x, count):
    for layer in range(count):
        weight = state[f'{name}.{3 * layer}.weight']
        x = torch.nn.functional.conv_transpose2d(x[None], weight, stride=2, padding=1)[0]
        x = normed(state, f'{name}.{3 * layer + 1}', x).clamp(min=0)
    return x


def position_net(state, name, feature_map, num_points):
    """Volumes (K, 16, h, w) that sum to one, and places (K, 3): x, y, z."""
    volumes = pointwise(state, f'{name}.conv.0', feature_map)
    volumes = volumes.reshape(num_points, 16, *feature_map.shape[1:])
    points = []
    softened = []
    for volume in volumes:
        volume = (volume - volume.max()).exp()
        volume = volume / volume.sum()
        z, y, x = torch.meshgrid(*(torch.arange(float(size)) for size in volume.shape), indexing='ij')
        points.append(torch.stack([(volume * axis).sum() for axis in (x, y, z)]))
        softened.append(volume)
    return torch.stack(softened), torch.stack(points)


def box_net(state, feature_map, body_volumes):
    """Sides (x0, y0, x1, y1) of three squares in pixels; centres and sizes in cells of the map."""
    x = torch.cat([feature_map, body_volumes.flatten(0, 1)])
    x = deconvolved(state, 'box_net.deconv', x, 3)
    maps = pointwise(state, 'box_net.bbox_center.0', x)
    squares, centers, sizes = [], [], []
    for index, part in enumerate(('lhand', 'rhand', 'face')):
        heat = (maps[index] - maps[index].max()).exp()
        heat = heat / heat.sum()
        rows, columns = torch.meshgrid(*(torch.arange(float(size)) for size in heat.shape), indexing='ij')
        column, row = (heat * columns).sum(), (heat * rows).sum()
        feature = interpolated(x, row, column)
        hidden = dense(state, f'box_net.{part}_size.0', feature).clamp(min=0)
        width, height = dense(state, f'box_net.{part}_size.2', hidden)
        side = max(float(width), float(height)) * PIXELS_PER_CELL * (1.5 if part == 'face' else 2.0)
        middle = (float(column) / 8 * PIXELS_PER_CELL, float(row) / 8 * PIXELS_PER_CELL)
        squares.append(
            [middle[0] - side / 2, middle[1] - side / 2, middle[0] + side / 2, middle[1] + side / 2]
        )
        centers.append(torch.stack([column, row]) / 8)
        sizes.append(torch.stack([width, height]))
    return squares, torch.stack(centers), torch.stack(sizes)


def interpolated(x, row, column):
    """Value of a map (C, h, w) between its cells; outside of it there are zeros."""
    total = torch.zeros(x.shape[0])
    for r in (math.floor(row), math.floor(row) + 1):
        for c in (math.floor(column), math.floor(column) + 1):
            if 0 <= r < x.shape[1] and 0 <= c < x.shape[2]:
                total = total + (1 - abs(float(row) - r)) * (1 - abs(float(column) - c)) * x[:, r, c]
    return total


def roi_align(x, box, bins=16):
    """(C, bins, bins) by the definition: every sample of every bin."""
    left, top, right, bottom = box
    width, height = max(right - left, 1.0), max(bottom - top, 1.0)
    down, across = math.ceil(height / bins), math.ceil(width / bins)
    out = torch.zeros(x.shape[0], bins, bins)
    for row in range(bins):
        for column in range(bins):
            for i in range(down):
                for j in range(across):
                    y = top + (row + (i + 0.5) / down) * height / bins
                    z = left + (column + (j + 0.5) / across) * width / bins
                    if -1 <= y <= x.shape[1] and -1 <= z <= x.shape[2]:
                        y, z = min(max(y, 0.0), x.shape[1] - 1.0), min(max(z, 0.0), x.shape[2] - 1.0)
                        out[:, row, column] += interpolated(x, y, z) / (down * across)
    return out


def hand(state, crop):
    """Rotations (45,) and points (20, 3) of a right hand."""
    crop = pointwise(state, 'hand_roi_net.conv.0', crop)
    _, points = position_net(state, 'hand_position_net', crop, 20)
    x = normed(state, 'hand_regressor.hand_conv.1', pointwise(state, 'hand_regressor.hand_conv.0', crop))
    x = x.clamp(min=0)
    features = [torch.cat([interpolated(x, point[1], point[0]), point]) for point in points]
    pose = dense(state, 'hand_regressor.hand_pose_out.0', torch.cat(features))
    return torch.cat([axis_angle(six) for six in pose.split(6)]), points


def axis_angle(six):
    """Of six numbers that lie row by row in a 3 x 2 matrix."""
    first, second = six[0::2], six[1::2]
    x = first / first.norm()
    y = second - (x @ second) * x
    y = y / y.norm()
    z = torch.stack([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]])
    matrix = torch.stack([x, y, z], dim=1)
    angle = torch.acos(((matrix.trace() - 1) / 2).clamp(-1, 1))
    axis = torch.stack([
        matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]
    ])  # fmt: skip
    return angle * axis / axis.norm()
