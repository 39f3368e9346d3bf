"""ViTPose's encoder as its paper and the files of ViTPose 0.x have it, one image and one head at a time.

Slow on purpose: nothing is batched or fused, so that each line can be compared with arXiv 2010.11929, section
3.1, and arXiv 2204.12484. Keys are those of ViTPose 0.x: the table of positions has one row more than there
are patches, in front, and that row is added to every patch.
"""

import torch

PATCH, PADDING, EPS = 16, 2, 1e-6


def vit(state, images, num_heads):
    """The closed map of each image.

    Args:
        state: State dictionary with ViTPose 0.x's keys.
        images: (B, 3, height, width), of the size that the positions are for, in multiples of 16.
        num_heads: Heads per block.

    Returns:
        (B, C, height / 16, width / 16).
    """
    return torch.stack([one_image(state, image, num_heads) for image in images])


def one_image(state, image, num_heads):
    """Map (3, height, width) to (C, H, W)."""
    rows, columns = image.shape[1] // PATCH, image.shape[2] // PATCH
    weight, bias = state['patch_embed.proj.weight'], state['patch_embed.proj.bias']
    padded = torch.zeros(image.shape[0], image.shape[1] + PATCH, image.shape[2] + PATCH, dtype=image.dtype)
    padded[:, PADDING : PADDING + image.shape[1], PADDING : PADDING + image.shape[2]] = image
    positions = state['pos_embed'][0]
    tokens = []
    for row in range(rows):
        for column in range(columns):
            patch = padded[:, PATCH * row : PATCH * (row + 1), PATCH * column : PATCH * (column + 1)]
            token = (weight * patch).sum((1, 2, 3)) + bias
            tokens.append(token + positions[1 + len(tokens)] + positions[0])
    x = torch.stack(tokens)  # (N, C)
    block = 0
    while f'blocks.{block}.norm1.weight' in state:
        own = {key.removeprefix(f'blocks.{block}.'): value for key, value in state.items()}
        x = x + attention(own, norm(own, 'norm1', x), num_heads)
        x = x + mlp(own, norm(own, 'norm2', x))
        block += 1
    return norm(state, 'last_norm', x).t().reshape(-1, rows, columns)


def norm(state, name, x):
    """Layer norm of each token, (N, C)."""
    centred = x - x.mean(1, keepdim=True)
    variance = centred.square().mean(1, keepdim=True)
    return centred / (variance + EPS).sqrt() * state[f'{name}.weight'] + state[f'{name}.bias']


def attention(state, x, num_heads):
    """Self-attention over all tokens, (N, C)."""
    dims = x.shape[1]
    q, k, v = (x @ state['attn.qkv.weight'].t() + state['attn.qkv.bias']).split(dims, dim=1)
    width = dims // num_heads
    heads = []
    for head in range(num_heads):
        part = slice(head * width, (head + 1) * width)
        logits = q[:, part] @ k[:, part].t() / width**0.5
        heads.append(logits.softmax(1) @ v[:, part])
    return torch.cat(heads, dim=1) @ state['attn.proj.weight'].t() + state['attn.proj.bias']


def mlp(state, x):
    """Two layers with the exact GELU between them, (N, C)."""
    hidden = x @ state['mlp.fc1.weight'].t() + state['mlp.fc1.bias']
    hidden = hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))
    return hidden @ state['mlp.fc2.weight'].t() + state['mlp.fc2.bias']
