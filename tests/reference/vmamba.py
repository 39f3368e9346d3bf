"""VMamba as the paper describes it, one image, one direction and one step at a time, from a state dictionary.

Slow on purpose: nothing is batched, shared or reordered, so that each line can be compared with the text of
arXiv 2401.10166 (section 4, the variant without gate) and of Mamba, arXiv 2312.00752 (section 3.2). Keys are
those of ``TruncatedVMamba``.
"""

import torch
import torch.nn.functional as F


def vmamba(state, images, depths, num_stages):
    """Maps of the first ``num_stages`` stages, each closed by its norm if the state dictionary has one.

    Args:
        state: State dictionary.
        images: (B, 3, height, width).
        depths: Blocks per stage.
        num_stages: Stages to run.

    Returns:
        List of (B, C, H, W).
    """
    maps = [one_image(state, image, depths, num_stages) for image in images]
    return [torch.stack(stage) for stage in zip(*maps, strict=True)]


def one_image(state, image, depths, num_stages):
    x = conv(state, 'patch_embed.conv1', image)
    x = conv(state, 'patch_embed.conv2', F.gelu(norm(state, 'patch_embed.norm1', x)))
    x = norm(state, 'patch_embed.norm2', x)  # (C, H, W)
    maps = []
    for stage in range(num_stages):
        for index in range(depths[stage]):
            key = f'stages.{stage}.blocks.{index}'
            x = x + scan_map(state, f'{key}.op', norm(state, f'{key}.norm', x))
            hidden = F.gelu(project(norm(state, f'{key}.norm2', x), *get(state, f'{key}.mlp.fc1')))
            x = x + project(hidden, *get(state, f'{key}.mlp.fc2'))
        if f'norm{stage}.weight' in state:
            maps.append(norm(state, f'norm{stage}', x))
        else:
            maps.append(x)
        if stage + 1 < num_stages:
            x = conv(state, f'stages.{stage}.downsample.conv', x)
            x = norm(state, f'stages.{stage}.downsample.norm', x)
    return maps


def scan_map(state, key, x):
    """Read the map in four orders, and add up what a state space model makes of each."""
    x = project(x, state[f'{key}.in_proj.weight'])
    weight = state[f'{key}.conv2d.weight']
    x = F.silu(F.conv2d(x[None], weight, padding=1, groups=len(weight))[0])
    channels, height, width = x.shape
    by_rows = [(row, col) for row in range(height) for col in range(width)]
    by_columns = [(row, col) for col in range(width) for row in range(height)]
    out = torch.zeros_like(x)
    for direction, places in enumerate([by_rows, by_columns, by_rows[::-1], by_columns[::-1]]):
        own = slice(direction * channels, (direction + 1) * channels)
        to_delta = state[f'{key}.dt_projs_weight'][direction]
        bias = state[f'{key}.dt_projs_bias'][direction]
        rates = -state[f'{key}.A_logs'][own].exp()  # (C, N)
        skip = state[f'{key}.Ds'][own]
        rank, size = to_delta.shape[1], rates.shape[1]
        memory = x.new_zeros(channels, size)
        for row, col in places:
            token = x[:, row, col]
            projected = state[f'{key}.x_proj_weight'][direction] @ token
            dt, write, read = projected.split([rank, size, size])
            delta = F.softplus(to_delta @ dt + bias)[:, None]
            memory = (delta * rates).exp() * memory + delta * write * token[:, None]
            out[:, row, col] += memory @ read + skip * token
    return project(norm(state, f'{key}.out_norm', out), state[f'{key}.out_proj.weight'])


def project(x, weight, bias=None):
    """Apply a linear layer at each place of a map (C, H, W)."""
    x = torch.einsum('oc,chw->ohw', weight, x)
    return x if bias is None else x + bias[:, None, None]


def norm(state, key, x):
    """Normalise over the channels of a map (C, H, W)."""
    weight, bias = get(state, key)
    return F.layer_norm(x.permute(1, 2, 0), weight.shape, weight, bias, eps=1e-5).permute(2, 0, 1)


def conv(state, key, x):
    return F.conv2d(x[None], *get(state, key), stride=2, padding=1)[0]


def get(state, key):
    return state[f'{key}.weight'], state[f'{key}.bias']
