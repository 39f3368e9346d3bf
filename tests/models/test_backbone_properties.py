"""What holds for every encoder; each is tried in the small size that it states."""

import copy
import re
from pathlib import Path

import pytest
import torch
from mmpose.registry import MODELS
from torch import nn

import mmhier.models
from mmhier.models.backbones.truncation import TruncatedEncoder

# Every encoder that is registered by now: those of mmhier, and of modules given to pytest by ``-p``.
ENCODERS = {
    name: kind
    for name, kind in sorted(MODELS.module_dict.items())
    if isinstance(kind, type) and issubclass(kind, TruncatedEncoder)
}
# Wraps networks of other projects; what holds for it stands in backbones/test_truncated_backbone.py.
WRAPPERS = {'TruncatedBackbone'}
# Small networks of four stages; every encoder is tried with 1 to 4 of them.
SMALL = {name: kind.small for name, kind in ENCODERS.items() if name not in WRAPPERS}
# Not hierarchical: what is a stage elsewhere is a single block here, and the map does not shrink.
ONE_STRIDE = {'ViT': 16}
# Residual branches of a block, where that is known.
BRANCHES = {'TruncatedGMF': 3, 'TruncatedSwin': 2, 'TruncatedVMamba': 2, 'ViT': 2}
SIZES_HW = [(64, 64), (96, 64), (67, 41)]


def build(name, **options):
    torch.manual_seed(0)
    network = MODELS.build({'type': name, 'drop_path_rate': 0.0, **SMALL[name], **options})
    network.init_weights()
    return network


cases = pytest.mark.parametrize(
    ('name', 'stages'), [(name, stages) for name in SMALL for stages in (1, 2, 3, 4)]
)


def test_every_encoder_states_its_small_size():
    assert set(BRANCHES) | WRAPPERS <= set(ENCODERS)
    for name, small in SMALL.items():
        assert small, f'{name} needs the attribute `small`: arguments of a small network of four stages'
    folder = Path(mmhier.models.__file__).parent / 'backbones'
    text = ''.join(path.read_text() for path in folder.glob('*.py'))
    written = re.findall(r'^class (\w+)\(TruncatedEncoder\)', text, re.MULTILINE)
    assert written and set(written) <= set(ENCODERS), 'a class of the folder is not registered'


@cases
def test_shapes_are_those_declared(name, stages):
    network = build(name, out_indices=tuple(range(stages))).eval()
    assert len(network.feature_info) == stages
    for height, width in SIZES_HW:
        with torch.no_grad():
            maps = network(torch.randn(2, 3, height, width))
        assert isinstance(maps, tuple)
        assert [out.shape for out in maps] == [
            (2, info.channels, -(-height // info.stride), -(-width // info.stride))
            for info in network.feature_info
        ]
        assert all(out.isfinite().all() and out.is_contiguous() for out in maps)


@cases
def test_last_map_only_by_default(name, stages):
    network = build(name, num_stages=stages)
    assert len(network.feature_info) == len(network(torch.randn(1, 3, 64, 64))) == 1
    assert network.feature_info[0].stride == ONE_STRIDE.get(name, 4 * 2 ** (stages - 1))


@cases
def test_every_parameter_receives_a_gradient(name, stages):
    network = build(name, num_stages=stages).train()
    images = torch.randn(2, 3, 67, 41)
    network(images)[0][:, ::2].sum().backward()
    parameters = dict(network.named_parameters())
    assert parameters
    for key, parameter in parameters.items():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), key


@cases
def test_truncation_keeps_the_numbers(name, stages):
    """The first stages of the full network compute what the truncated network computes."""
    full = build(name, out_indices=(0, 1, 2, 3)).eval()
    kept = build(name, num_stages=stages).eval()
    weights = full.state_dict()
    kept.load_state_dict({key: weights[key] for key in kept.state_dict()})
    images = torch.randn(1, 3, 67, 41)
    with torch.no_grad():
        assert torch.equal(kept(images)[0], full(images)[stages - 1])


@pytest.mark.parametrize('name', sorted(SMALL))
def test_stochastic_depth_is_that_of_the_full_network(name):
    def rates(network):
        return [m.drop_prob for m in network.modules() if hasattr(m, 'drop_prob')]

    full, kept = build(name, drop_path_rate=0.4), build(name, num_stages=2, drop_path_rate=0.4)
    assert rates(full)[-1] == pytest.approx(0.4)
    assert rates(kept) and rates(full)[: len(rates(kept))] == rates(kept)
    assert rates(build(name, num_stages=2, drop_path_rate=0.4, drop_path_span='kept'))[-1] == pytest.approx(
        0.4
    )


@pytest.mark.parametrize('name', sorted(SMALL))
def test_stochastic_depth_acts_in_training_only(name):
    network, images = build(name, num_stages=3, drop_path_rate=0.9), torch.randn(4, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(network.eval()(images)[0], network.eval()(images)[0])
        assert not torch.equal(network.train()(images)[0], network.train()(images)[0])


@pytest.mark.parametrize('name', sorted(SMALL))
def test_checkpointing_changes_nothing(name):
    results = []
    for with_cp in (False, True):
        network = build(name, num_stages=3, with_cp=with_cp, drop_path_rate=0.4).train()
        torch.manual_seed(1)
        images = torch.randn(2, 3, 67, 41, requires_grad=True)
        out = network(images)[0]
        out.square().sum().backward()
        results.append([out.detach(), images.grad, *(p.grad for p in network.parameters())])
    for plain, checkpointed in zip(*results, strict=True):
        assert torch.allclose(plain, checkpointed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('name', sorted(SMALL))
def test_batch_is_a_loop_of_singles(name):
    network, images = build(name, num_stages=3).eval(), torch.randn(3, 3, 67, 41)
    with torch.no_grad():
        singles = torch.cat([network(image[None])[0] for image in images])
        assert torch.allclose(network(images)[0], singles, atol=1e-5)


@cases
def test_layers_cover_the_depth_in_order(name, stages):
    network = build(name, num_stages=stages)
    layers = [network.layer_id(key) for key, _ in network.named_parameters()]
    closing = network.num_layers + 1  # an encoder that returns bare maps has nothing there
    assert set(layers) | {closing} == set(range(closing + 1))
    assert layers == sorted(layers), 'parameters are not listed in the order of depth'
    with pytest.raises(ValueError, match='unheard_of'):
        network.layer_id('unheard_of.weight')


@pytest.mark.parametrize('name', sorted(SMALL))
def test_what_does_not_decay_is_there(name):
    """And is named in vain if it has one dimension: such parameters never decay."""
    network = build(name, num_stages=2)
    shapes = {key: parameter.ndim for key, parameter in network.named_parameters()}
    undecayed = network.no_weight_decay()
    assert {key.rpartition('.')[2] for key in undecayed} == set(network.undecayed)
    assert all(shapes[key] > 1 for key in undecayed)


@pytest.mark.parametrize('name', sorted(SMALL))
def test_freezing(name):
    assert not any(p.requires_grad for p in build(name, num_stages=3, frozen_stages=3).train().parameters())
    for frozen in (-1, 0, 1, 2):
        network = build(name, num_stages=3, frozen_stages=frozen)
        assert network.train() is network
        network(torch.randn(2, 3, 64, 64))[0][:, 0].sum().backward()
        trained = [key for key, p in network.named_parameters() if p.grad is not None]
        held = [key for key, p in network.named_parameters() if p.grad is None]
        first_free = network.truncation.block_index(frozen) + 1 if frozen > 0 else frozen + 1
        assert trained and min(map(network.layer_id, trained)) >= max(first_free, 0)
        assert bool(held) == (frozen >= 0)


PARTED = [name for name in SMALL if ENCODERS[name].block_parts]


@pytest.mark.parametrize('parts', ['attention', 'mlp', ('attention', 'mlp')])
@pytest.mark.parametrize('name', PARTED)
def test_frozen_parts_stay_and_the_rest_learns_as_before(name, parts):
    """Gradients of what learns are those without freezing; the optimizer keeps nothing of the rest."""
    network, free = build(name, frozen_parts=parts).train(), build(name).train()
    chosen = {network.block_parts[part] for part in ([parts] if isinstance(parts, str) else parts)}
    held = {key for key, p in network.named_parameters() if chosen & set(key.split('.'))}
    assert held == {key for key, p in network.named_parameters() if not p.requires_grad}
    assert 0 < len(held) < len(list(network.parameters())) and not any('norm1' in key for key in held)
    # batch statistics of what is frozen stay those that were loaded
    free.load_state_dict(network.state_dict())
    for key, module in free.named_modules():
        if chosen & set(key.split('.')):
            module.eval()
    images = torch.randn(2, 3, 67, 41)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for one in (network, free):
        one(images)[0].square().mean().backward()
    for (key, ours), theirs in zip(network.named_parameters(), free.parameters(), strict=True):
        if key in held:
            assert ours.grad is None
        else:
            scale = theirs.grad.abs().max().clamp(min=1e-6)
            assert (ours.grad - theirs.grad).abs().max() <= 1e-4 * scale, key
    before = copy.deepcopy(network.state_dict())
    optimizer.step()
    assert len(optimizer.state) == len(list(network.parameters())) - len(held)
    assert all(torch.equal(network.state_dict()[key], before[key]) for key in held)


@pytest.mark.parametrize('name', PARTED)
def test_unknown_parts_are_refused(name):
    with pytest.raises(ValueError, match=r"frozen_parts takes attention and mlp here, got \['heads'\]"):
        build(name, frozen_parts='heads')


@pytest.mark.parametrize('name', sorted(SMALL))
@pytest.mark.parametrize('mode', ['training', 'evaluation', 'inference'])
def test_empty_batches(name, mode):
    """No people, no maps: nothing is wrong with that, and running statistics do not move."""
    network = build(name, num_stages=3).train(mode == 'training')
    before = copy.deepcopy(network.state_dict())
    with torch.inference_mode(mode == 'inference'):
        (out,) = network(torch.zeros(0, 3, 67, 41))
    info = network.feature_info[0]
    assert out.shape == (0, info.channels, -(-67 // info.stride), -(-41 // info.stride))
    if mode != 'inference':
        out.sum().backward()
        assert all(not parameter.grad.any() for parameter in network.parameters())
    moved = [key for key, value in network.state_dict().items() if not torch.equal(value, before[key])]
    assert all(key.endswith('num_batches_tracked') for key in moved)


@pytest.mark.parametrize('name', sorted(SMALL))
def test_copies_are_independent(name):
    network, images = build(name, num_stages=3).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        before = network(images)[0]
        other = copy.deepcopy(network)
        for parameter in other.parameters():
            parameter.add_(0.1)
        assert torch.equal(network(images)[0], before)
        assert not torch.equal(other(images)[0], before)


def run_with_hooks(network, images, modules):
    """Run with a hook on each of the modules; return the maps and all that hooks saw, now and then."""
    seen = []

    def keep(module, args, out):
        tensors = [tensor for tensor in (*args, out) if isinstance(tensor, torch.Tensor)]
        seen.extend((tensor, tensor.detach().clone()) for tensor in tensors)

    hooks = [module.register_forward_hook(keep) for module in modules]
    maps = network(images)
    for hook in hooks:
        hook.remove()
    return maps, seen


@pytest.mark.parametrize(
    ('name', 'fused'), [*((name, False) for name in sorted(SMALL)), ('TruncatedGMF', True)]
)
@pytest.mark.parametrize('grad', [False, True])
def test_what_hooks_see_stays(name, fused, grad):
    """Each module alone, and all at once: what its hook was shown is not written to afterwards."""
    network, images = build(name, num_stages=2).eval(), torch.randn(1, 3, 35, 33)
    if fused:
        network.fuse_for_inference()
    with torch.set_grad_enabled(grad):
        plain = network(images)[0]
        modules = list(network.modules())
        for hooked in [modules, *([module] for module in modules)]:
            maps, seen = run_with_hooks(network, images, hooked)
            assert torch.equal(maps[0], plain)
            assert seen or len(hooked) == 1
            assert all(torch.equal(now, then) for now, then in seen), hooked[0]


@pytest.mark.parametrize('name', sorted(SMALL))
def test_what_global_hooks_see_stays(name):
    network, images, seen = build(name, num_stages=2).eval(), torch.randn(1, 3, 35, 33), []
    hook = nn.modules.module.register_module_forward_hook(
        lambda module, args, out: seen.append((out, out.clone())) if isinstance(out, torch.Tensor) else None
    )
    try:
        with torch.no_grad():
            network(images)
    finally:
        hook.remove()
    assert len(seen) > 10
    assert all(torch.equal(now, then) for now, then in seen)


@pytest.mark.parametrize('name', sorted(SMALL))
def test_residuals_are_added_in_place_where_nobody_looks(name, monkeypatch):
    """As many as there are branches: what makes the hooks safe must not cost speed without them."""
    from mmhier.ops import in_place

    found, ask = [], in_place.may_overwrite
    monkeypatch.setattr(in_place, 'may_overwrite', lambda *modules: found.append(ask(*modules)) or found[-1])
    network = build(name, num_stages=3).eval()
    with torch.inference_mode():
        network(torch.randn(2, 3, 64, 64))
    assert (
        all(found) and len(found) == BRANCHES.get(name, len(found) / network.num_layers) * network.num_layers
    )
