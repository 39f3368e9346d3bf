import itertools

import pytest
import torch

from mmhier.ops.map_windows import cut, join, windowed_attention

# Maps that windows divide, that they do not, of one window, of windows that are not square.
SIZES = [((8, 6), (4, 3)), ((7, 5), (4, 2)), ((4, 4), (4, 4)), ((9, 4), (3, 4)), ((5, 5), (1, 2))]
KINDS = list(itertools.product((False, True), (False, True)))


def plainly(qkv, map_hw, window_hw, shifted, pooled):
    """Token by token: those of the same window are seen, and the means of the unshifted windows."""
    places = list(itertools.product(range(map_hw[0]), range(map_hw[1])))
    shift = [side // 2 if shifted else 0 for side in window_hw]

    def window_of(place, shift):
        return tuple((at - by) // side for at, by, side in zip(place, shift, window_hw))

    grid = {}
    for number, place in enumerate(places):
        grid.setdefault(window_of(place, (0, 0)), []).append(number)
    q, k, v = qkv
    out = torch.empty_like(q)
    for number, place in enumerate(places):
        mine = window_of(place, shift)
        seen = [other for other, at in enumerate(places) if window_of(at, shift) == mine]
        keys, values = k[:, :, seen], v[:, :, seen]
        if pooled:
            for members in grid.values():
                keys = torch.cat([keys, k[:, :, members].mean(2, keepdim=True)], 2)
                values = torch.cat([values, v[:, :, members].mean(2, keepdim=True)], 2)
        logits = (q[:, :, number, None] * keys).sum(-1) / q.shape[-1] ** 0.5
        out[:, :, number] = (logits.softmax(-1)[..., None] * values).sum(2)
    return out


@pytest.mark.parametrize(('map_hw', 'window_hw'), SIZES)
@pytest.mark.parametrize(('shifted', 'pooled'), KINDS)
def test_equals_the_plain_reference(map_hw, window_hw, shifted, pooled):
    qkv = torch.randn(3, 2, 2, map_hw[0] * map_hw[1], 4, dtype=torch.double, requires_grad=True)
    found, expected = (
        attend(qkv, map_hw, window_hw, shifted, pooled) for attend in (windowed_attention, plainly)
    )
    assert (found - expected).abs().max() < 1e-12
    weights = torch.randn_like(found)
    gradients = [torch.autograd.grad((out * weights).sum(), qkv)[0] for out in (found, expected)]
    assert (gradients[0] - gradients[1]).abs().max() < 1e-12


@pytest.mark.parametrize(('map_hw', 'window_hw'), SIZES)
def test_join_undoes_cut(map_hw, window_hw):
    tokens = torch.randn(2, map_hw[0] * map_hw[1], 3)
    for shift_hw in ((0, 0), (window_hw[0] // 2, window_hw[1] // 2)):
        windows = cut(tokens, map_hw, window_hw, shift_hw)
        assert windows.shape[2:] == (window_hw[0] * window_hw[1], 3)
        assert torch.equal(join(windows, map_hw, window_hw, shift_hw), tokens)
