"""Swin Transformer as the paper describes it, one image and one window at a time, from a state dictionary.

Slow on purpose: nothing is batched, shared or reordered, so that each line can be compared with the text of
arXiv 2103.14030, sections 3.1 and 3.2. Keys are OpenMMLab's.
"""

import torch
import torch.nn.functional as F


def swin(state, images, depths, num_heads, window, num_stages, shift_covered=True):
    """Maps of the first ``num_stages`` stages, each closed by its norm if the state dictionary has one.

    Args:
        state: State dictionary.
        images: (B, 3, height, width).
        depths: Blocks per stage.
        num_heads: Heads per stage.
        window: Side of a window.
        num_stages: Stages to run.
        shift_covered: Shift also where one window covers the map (detection), or not (classification).

    Returns:
        List of (B, C, H, W).
    """
    maps = [one_image(state, image, depths, num_heads, window, num_stages, shift_covered) for image in images]
    return [torch.stack(stage) for stage in zip(*maps, strict=True)]


def one_image(state, image, depths, num_heads, window, num_stages, shift_covered):
    height, width = image.shape[1:]
    image = F.pad(image, (0, -width % 4, 0, -height % 4))
    x = F.conv2d(image[None], *get(state, 'patch_embed.projection'), stride=4)[0].permute(1, 2, 0)
    x = norm(state, 'patch_embed.norm', x)  # (H, W, C)
    maps = []
    for stage in range(num_stages):
        for index in range(depths[stage]):
            covered = min(x.shape[:2]) <= window
            shift = window // 2 if index % 2 and (shift_covered or not covered) else 0
            key = f'stages.{stage}.blocks.{index}'
            branch = norm(state, f'{key}.norm1', x)
            x = x + windowed(state, f'{key}.attn.w_msa', branch, num_heads[stage], window, shift)
            branch = F.linear(norm(state, f'{key}.norm2', x), *get(state, f'{key}.ffn.layers.0.0'))
            x = x + F.linear(F.gelu(branch), *get(state, f'{key}.ffn.layers.1'))
        if f'norm{stage}.weight' in state:
            maps.append(norm(state, f'norm{stage}', x).permute(2, 0, 1))
        if stage + 1 < num_stages:
            x = merge_patches(state, f'stages.{stage}.downsample', x)
    return maps


def windowed(state, key, x, heads, window, shift):
    """Attention within the windows of a map that was padded and rolled."""
    height, width, channels = x.shape
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    rows, cols = x.shape[:2]
    x = x.roll((-shift, -shift), (0, 1))
    out = torch.empty_like(x)
    for top in range(0, rows, window):
        for left in range(0, cols, window):
            tokens = x[top : top + window, left : left + window].reshape(-1, channels)
            # Where each token sits on the rolled map: tokens that came from opposite sides do not mix.
            places = [(top + i, left + j) for i in range(window) for j in range(window)]
            sides = [(shift > 0 and r >= rows - shift, shift > 0 and c >= cols - shift) for r, c in places]
            mixed = attention(state, key, tokens, heads, window, sides)
            out[top : top + window, left : left + window] = mixed.view(window, window, channels)
    return out.roll((shift, shift), (0, 1))[:height, :width]


def attention(state, key, tokens, heads, window, sides):
    """Self-attention among the tokens (N, C) of one window."""
    count, channels = tokens.shape
    q, k, v = F.linear(tokens, *get(state, f'{key}.qkv')).view(count, 3, heads, -1).permute(1, 2, 0, 3)
    table = state[f'{key}.relative_position_bias_table']
    bias = tokens.new_zeros(heads, count, count)
    for query in range(count):
        for other in range(count):
            down = query // window - other // window + window - 1
            right = query % window - other % window + window - 1
            bias[:, query, other] = table[down * (2 * window - 1) + right]
            if sides[query] != sides[other]:
                bias[:, query, other] -= 100.0
    weights = (q @ k.transpose(1, 2) / (channels // heads) ** 0.5 + bias).softmax(-1)
    return F.linear((weights @ v).transpose(0, 1).reshape(count, channels), *get(state, f'{key}.proj'))


def merge_patches(state, key, x):
    """Join 2 x 2 tokens; inputs are ordered by channel, then by place."""
    x = F.pad(x, (0, 0, 0, x.shape[1] % 2, 0, x.shape[0] % 2))
    places = [x[0::2, 0::2], x[0::2, 1::2], x[1::2, 0::2], x[1::2, 1::2]]
    x = torch.stack(places, dim=-1).flatten(2)
    return F.linear(norm(state, f'{key}.norm', x), state[f'{key}.reduction.weight'])


def norm(state, key, x):
    return F.layer_norm(x, x.shape[-1:], *get(state, key), eps=1e-5)


def get(state, key):
    return state[f'{key}.weight'], state[f'{key}.bias']
