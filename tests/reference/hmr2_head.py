"""HMR2.0's decoder written out, one image, one layer and one attention head at a time.

Slow on purpose and without any shortcut: keys and values of every place of the map, a softmax in
self-attention although there is one token. Keys are those of the official checkpoints (``smpl_head.``
stripped); the numbers are those of arXiv 2305.20091 and its released configuration.
"""

import math

import torch

EPS = 1e-5


def hmr2_head(state, maps, num_heads):
    """Rotations (B, J, 3, 3), betas (B, S) and cameras (B, 3) of maps (B, C, h, w)."""
    bodies = [one_body(state, one_map, num_heads) for one_map in maps]
    return tuple(torch.stack(parts) for parts in zip(*bodies, strict=True))


def one_body(state, one_map, num_heads):
    context = torch.stack([one_map[:, row, column] for row, column in places(one_map)])  # (N, C), row by row
    zero = torch.zeros(1, 1, dtype=one_map.dtype)
    x = dense(state, 'transformer.to_token_embedding', zero) + state['transformer.pos_embedding'][0]
    layer = 0
    while (prefix := f'transformer.transformer.layers.{layer}.') + '0.norm.weight' in state:
        own = {key.removeprefix(prefix): value for key, value in state.items()}
        normed = norm(own, '0.norm', x)
        query, key, value = (normed @ own['0.fn.to_qkv.weight'].t()).chunk(3, dim=1)
        x = x + dense(own, '0.fn.to_out.0', attention(query, key, value, num_heads))
        query = norm(own, '1.norm', x) @ own['1.fn.to_q.weight'].t()
        key, value = (context @ own['1.fn.to_kv.weight'].t()).chunk(2, dim=1)
        x = x + dense(own, '1.fn.to_out.0', attention(query, key, value, num_heads))
        hidden = dense(own, '2.fn.net.0', norm(own, '2.norm', x))
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + dense(own, '2.fn.net.3', hidden)
        layer += 1
    pose = (dense(state, 'decpose', x) + state['init_body_pose'])[0]
    betas = (dense(state, 'decshape', x) + state['init_betas'])[0]
    camera = (dense(state, 'deccam', x) + state['init_cam'])[0]
    return torch.stack([rotation(six) for six in pose.split(6)]), betas, camera


def places(one_map):
    return [(row, column) for row in range(one_map.shape[1]) for column in range(one_map.shape[2])]


def dense(state, name, x):
    return x @ state[f'{name}.weight'].t() + state[f'{name}.bias']


def norm(state, name, x):
    centred = x - x.mean(1, keepdim=True)
    variance = centred.square().mean(1, keepdim=True)
    return centred / (variance + EPS).sqrt() * state[f'{name}.weight'] + state[f'{name}.bias']


def attention(query, key, value, num_heads):
    width = query.shape[1] // num_heads
    heads = []
    for head in range(num_heads):
        part = slice(head * width, (head + 1) * width)
        logits = query[:, part] @ key[:, part].t() / math.sqrt(width)
        heads.append(logits.softmax(1) @ value[:, part])
    return torch.cat(heads, dim=1)


def rotation(six):
    """The first three numbers are the first column, the last three the second; Gram-Schmidt."""
    first = six[:3] / six[:3].norm()
    second = six[3:] - (first @ six[3:]) * first
    second = second / second.norm()
    x, y = first, second
    third = torch.stack([x[1] * y[2] - x[2] * y[1], x[2] * y[0] - x[0] * y[2], x[0] * y[1] - x[1] * y[0]])
    return torch.stack([first, second, third], dim=1)
