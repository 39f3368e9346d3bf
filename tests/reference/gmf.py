"""GroupMixFormer as the paper describes it, head by head and branch by branch, from a state dictionary.

Slow on purpose: maps are (B, C, H, W), nothing is folded, joined or reordered, so that each line can be
compared with arXiv 2311.15157, section 3. Keys are those of ``TruncatedGMF``.
"""

import torch
import torch.nn.functional as F

HEADS = 8
GROUP_KERNELS = (None, 3, 5, 7)
KERNEL_OF_HEAD = (3, 3, 5, 5, 5, 7, 7, 7)


def gmf(state, images, depths, num_stages, training=False):
    """Maps of the first ``num_stages`` stages.

    Args:
        state: State dictionary.
        images: (B, 3, height, width).
        depths: Blocks per stage.
        num_stages: Stages to run.
        training: Whether batch normalisation uses the statistics of the batch.

    Returns:
        List of (B, C, H, W).
    """
    x = images
    for layer in ('stem.0', 'stem.1'):
        weight, bias = pair(state, f'{layer}.conv')
        x = F.hardswish(batch_norm(state, f'{layer}.norm', F.conv2d(x, weight, bias, 2, 1), training))
    x = embed(state, 'stem.2', x, 1, training)
    maps = []
    for stage in range(num_stages):
        for index in range(depths[stage]):
            x = block(state, f'stages.{stage}.blocks.{index}', x, training)
        maps.append(x)
        if stage + 1 < num_stages:
            x = embed(state, f'stages.{stage}.downsample', x, 2, training)
    return maps


def embed(state, key, x, stride, training):
    x = separable(state, f'{key}.proj', x, stride)
    return F.hardswish(batch_norm(state, f'{key}.norm', x, training))


def block(state, key, x, training):
    weight, bias = pair(state, f'{key}.cpe')
    x = x + F.conv2d(x, weight, bias, 1, 1, groups=len(weight))
    x = x + attention(state, f'{key}.attn', layer_norm(state, f'{key}.norm1', x, 1e-6), training)
    branch = point(pair(state, f'{key}.mlp.0'), layer_norm(state, f'{key}.norm2', x, 1e-6))
    return x + point(pair(state, f'{key}.mlp.1'), F.gelu(branch))


def attention(state, key, x, training):
    batch, channels = x.shape[:2]
    width = channels // 5
    parts = point(pair(state, f'{key}.qkv'), x).chunk(3, dim=1)  # q, k and v
    groups = [part.split(width, dim=1) for part in parts]  # five groups of each

    # The last group of q, k and v does not attend.
    local = torch.cat([groups[0][4], groups[1][4], groups[2][4]], dim=1)
    local = separable(state, f'{key}.local.conv', local)
    local = F.hardswish(layer_norm(state, f'{key}.local.norm', local, 1e-5))

    # The others pass neighbourhoods of four sizes; q, k and v are normalised together.
    mixed = []
    for group, kernel in enumerate(GROUP_KERNELS):
        joint = torch.cat([groups[0][group], groups[1][group], groups[2][group]], dim=0)
        if kernel:
            joint = separable(state, f'{key}.groups.{group}.conv', joint)
        mixed.append(F.hardswish(batch_norm(state, f'{key}.groups.{group}.norm', joint, training)))
    q, k, v = torch.cat(mixed, dim=1).split(batch, dim=0)

    # Each head has 1/8 of these 4/5 of the channels; the scale is that of 1/8 of all channels,
    # rounded down as the authors do.
    size, scale = q.shape[1] // HEADS, (channels // HEADS) ** -0.5
    heads, done = [], {3: 0, 5: 0, 7: 0}
    for head, kernel in enumerate(KERNEL_OF_HEAD):
        own = slice(head * size, (head + 1) * size)
        query, value = q[:, own], v[:, own]
        weights = k[:, own].flatten(2).softmax(-1)  # of each channel over all tokens
        context = torch.einsum('bin,bjn->bij', weights, value.flatten(2))
        attended = torch.einsum('bihw,bij->bjhw', query, context)
        kernels, bias = pair(state, f'{key}.position.{(3, 5, 7).index(kernel)}')
        taken = slice(done[kernel], done[kernel] + size)
        done[kernel] += size
        position = F.conv2d(value, kernels[taken], bias[taken], 1, kernel // 2, groups=size)
        heads.append(scale * attended + query * position)
    return point(pair(state, f'{key}.proj'), torch.cat([*heads, local], dim=1))


def separable(state, key, x, stride=1):
    weight = state[f'{key}.depthwise.weight']
    x = F.conv2d(x, weight, None, stride, weight.shape[-1] // 2, groups=len(weight))
    return F.conv2d(x, state[f'{key}.pointwise.weight'])


def batch_norm(state, key, x, training):
    if training:
        mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), correction=0)
    else:
        mean, var = state[f'{key}.running_mean'], state[f'{key}.running_var']
    x = (x - mean.view(-1, 1, 1)) / (var + 1e-5).sqrt().view(-1, 1, 1)
    weight, bias = pair(state, key)
    return x * weight.view(-1, 1, 1) + bias.view(-1, 1, 1)


def layer_norm(state, key, x, eps):
    weight, bias = pair(state, key)
    return F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, eps).permute(0, 3, 1, 2)


def point(weights, x):
    """A linear layer at each token of (B, C, H, W)."""
    weight, bias = weights
    return F.conv2d(x, weight[:, :, None, None], bias)


def pair(state, key):
    return state[f'{key}.weight'], state[f'{key}.bias']
