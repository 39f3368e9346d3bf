"""HMR2Head: numbers, parameters, mean parameters, and the ways in which it is run."""

import inspect
import runpy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from mmpose.registry import MODELS
from torch.utils.flop_counter import FlopCounterMode

from mmhier.convert.hmr2 import HEAD_TABLE
from mmhier.convert.key_table import Shaped
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.heads.hmr2_head import ARCHS, HMR2Head, resolve_arch, sine_positions
from mmhier.models.necks.resolution_neck import ResolutionNeck

REFERENCE = runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'hmr2_head.py'))
MICRO = dict(embed_dims=24, num_layers=2, num_heads=3, head_dims=4, feedforward_channels=20)
# Parameters of the official decoder without and with its read-outs.
FULL_DECODER, FULL_HEAD = 39_386_112, 39_547_037
READOUTS = 1025 * (144 + 10 + 3)


def micro(**options):
    """A small head of which no weight is trivial."""
    head = HMR2Head(10, MICRO, **options).eval()
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return head


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def officially_named(head):
    """State dictionary with the official keys, by reading the converter's table from right to left."""
    state, named = head.state_dict(), {}
    for theirs, ours in HEAD_TABLE.items():
        name = ours.name if isinstance(ours, Shaped) else ours
        for layer in range(len(head.layers)) if '{j}' in name else [0]:
            for part in ('weight', 'bias') if '{p}' in name else ['']:
                key = name.replace('{j}', str(layer)).replace('{p}', part).removeprefix('head.')
                value = state.pop(key)
                their_key = theirs.replace('{j}', str(layer)).replace('{p}', part)
                named[their_key.removeprefix('smpl_head.')] = (
                    value[None] if isinstance(ours, Shaped) else value
                )
    assert not state
    return named


def test_equals_plain_reference():
    """In float64 the cheap order of the products makes no difference, forward or backward."""
    head, maps = micro().double(), torch.randn(3, 10, 4, 3, dtype=torch.float64, requires_grad=True)
    found = head(maps)
    expected = REFERENCE['hmr2_head'](officially_named(head), maps, MICRO['num_heads'])
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 1e-10
        factors = torch.randn_like(ours)
        (gradient,) = torch.autograd.grad((ours * factors).sum(), maps, retain_graph=True)
        (other,) = torch.autograd.grad((theirs * factors).sum(), maps, retain_graph=True)
        assert other.any() and (gradient - other).abs().max() < 1e-10


def test_float32_keeps_its_digits_at_full_size():
    head, maps = HMR2Head(384, 'small').eval(), torch.randn(2, 384, 16, 12)
    with torch.no_grad():
        found, expected = head(maps), head.double()(maps.double())
    for ours, exact in zip(found, expected, strict=True):
        assert ours.dtype == torch.float32 and (ours - exact).abs().max() < 1e-5


def test_published_parameter_counts():
    with torch.device('meta'):
        full = HMR2Head(1280, 'huge')
        assert (count(full) - READOUTS, count(full)) == (FULL_DECODER, FULL_HEAD)
        small_320, small_384 = count(HMR2Head(320, 'small')), count(HMR2Head(384, 'small'))
        ours = count(HMR2Head(768, 'base'))
    assert count(ResolutionNeck(768, 32, 384)) == 1_180_032
    swin_s3 = 33_469_914 + small_384
    swin_s4 = 48_837_258 + 1_180_032 + small_384
    assert round(100 * (1 - swin_s3 / swin_s4), 1) == 31.6
    assert round((16_888_352 + small_320) / 1e6, 1) == 19.2
    assert small_384 < ours < FULL_HEAD


def test_encoder_neck_and_head_fit():
    """The small chain that the published counts are about, at 1/16 behind stages 2, 3 and 4."""
    arch = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 2, 4, 8])
    head = HMR2Head(32, MICRO)
    for stages in (2, 3, 4):
        encoder = TruncatedSwin(arch, num_stages=stages)
        info = encoder.feature_info[-1]
        found = head(ResolutionNeck(info.channels, info.stride, 32)(encoder(torch.randn(2, 3, 64, 48))))
        assert found.rotations.shape == (2, 24, 3, 3)


def test_convention_six_numbers_are_two_columns():
    """Numbers 0-2 of a joint are the first column of its matrix, 3-5 the second; the root comes first."""
    head = micro()
    with torch.no_grad():
        head.pose_readout.weight.zero_()
        head.pose_readout.bias.zero_()
        head.init_body_pose[0, :6] = torch.tensor([0.0, 0.6, 0.8, 1.0, 0.0, 0.0])
        found = head(torch.randn(1, 10, 2, 2))
    expected = torch.tensor([[0.0, 1.0, 0.0], [0.6, 0.0, 0.8], [0.8, 0.0, -0.6]])
    assert torch.allclose(found.global_orient[0, 0], expected)
    assert torch.allclose(found.body_pose, torch.eye(3).expand(1, 23, 3, 3))


def test_default_means_stand_upright():
    head = HMR2Head(10, MICRO, readout_gain=1e-9)
    found = head(torch.randn(2, 10, 2, 2))
    turned = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    assert torch.allclose(found.global_orient, turned.expand(2, 1, 3, 3), atol=1e-6)
    assert torch.allclose(found.body_pose, torch.eye(3).expand(2, 23, 3, 3), atol=1e-6)
    assert torch.allclose(found.betas, torch.zeros(2, 10), atol=1e-6)
    assert torch.allclose(found.camera, torch.tensor([[0.9, 0, 0]] * 2), atol=1e-6)


def write_means(path, joints=24, **changes):
    """A file like SPIN's: the matrix [[1, 2], [3, 4], [5, 6]] of a joint row by row."""
    arrays = dict(pose=np.tile(np.arange(1.0, 7.0), joints), shape=np.arange(10.0), cam=np.array([0.9, 0, 0]))
    np.savez(path, **{key: value for key, value in (arrays | changes).items() if value is not None})
    return str(path)


def test_mean_params_file_and_its_official_misreading(tmp_path):
    path = write_means(tmp_path / 'smpl_mean_params.npz')
    sane, official = (HMR2Head(10, MICRO, mean_params=path, scrambled_mean_params=s) for s in (False, True))
    assert sane.init_body_pose[0, 6:12].tolist() == [1, 3, 5, 2, 4, 6]
    assert official.init_body_pose[0, 6:12].tolist() == [1, 2, 3, 4, 5, 6]
    assert sane.init_betas[0].tolist() == list(range(10)) and sane.init_betas.dtype == torch.float32


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(cam=None), 'cam'),
        (dict(cam=np.zeros(4)), 'a camera of 3'),
        (dict(pose=np.zeros(143)), '6 numbers per joint'),
        (dict(pose=np.zeros(132)), '22 joints and 10 betas, the head has 24 and 10'),
        (dict(pose=np.array([object()])), 'no smpl_mean_params.npz'),
    ],
)
def test_bad_mean_params_are_named(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as error:
        HMR2Head(10, MICRO, mean_params=write_means(tmp_path / 'mean.npz', **changes))
    assert 'mean.npz' in str(error.value)


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / 'mean.npz').write_bytes(b'version https://git-lfs.github.com/spec/v1\n')
    with pytest.raises(ValueError, match=r'mean\.npz is no smpl_mean_params'):
        HMR2Head(10, MICRO, mean_params=str(tmp_path / 'mean.npz'))


def test_every_parameter_takes_part():
    """Data-parallel training needs a gradient for each; what one token cannot use gets zeros."""
    head = micro().train()
    found = head(torch.randn(2, 10, 3, 2))
    sum(part.square().sum() for part in (found.rotations[..., 0, :], found.betas, found.camera)).backward()
    inner = MICRO['num_heads'] * MICRO['head_dims']
    seen = 0
    for name, parameter in head.named_parameters():
        grad = parameter.grad
        assert grad is not None and grad.isfinite().all(), name
        if name.endswith('self_attn.qkv.weight'):
            assert not grad[: 2 * inner].any() and grad[2 * inner :].any()
        elif name == 'query.weight':
            assert not grad.any()
        else:
            assert grad.any(), name
        seen += 1
    assert seen == 9 + 17 * MICRO['num_layers']


def test_gradient_reaches_the_map():
    head, maps = micro().double(), torch.randn(2, 10, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: tuple(head(x)), (maps,))


def test_batch_is_a_loop_of_singles():
    head, maps = micro().double(), torch.randn(3, 10, 4, 3, dtype=torch.float64)
    with torch.no_grad():
        together = head(maps)
        singles = [head(one[None]) for one in maps]
    for index, part in enumerate(together):
        assert torch.allclose(part, torch.cat([single[index] for single in singles]), atol=1e-12)


def test_places_have_no_order():
    """The context has no positions of its own, so its places may be shuffled."""
    head, maps = micro(), torch.randn(2, 10, 4, 3)
    shuffled = maps.flatten(2)[..., torch.randperm(12)].unflatten(2, (2, 6))
    with torch.no_grad():
        assert torch.allclose(head(maps).rotations, head(shuffled).rotations, atol=1e-5)


def test_last_of_several_maps_is_read():
    head, maps = micro(), torch.randn(1, 10, 4, 3)
    with torch.no_grad():
        assert torch.equal(head((torch.randn(1, 5, 8, 6), maps)).camera, head(maps).camera)


def test_predictions_are_rotations():
    rotations = micro()(torch.randn(4, 10, 4, 3)).rotations
    assert torch.allclose(rotations @ rotations.mT, torch.eye(3).expand_as(rotations), atol=1e-5)
    assert torch.allclose(torch.linalg.det(rotations), torch.ones(4, 24), atol=1e-5)


def test_autocast_ends_at_the_read_out():
    head, maps = micro(), torch.randn(2, 10, 4, 3)
    with torch.no_grad():
        with torch.autocast('cpu', torch.bfloat16):
            found = head(maps.bfloat16())
        expected = head(maps)
    assert all(part.dtype == torch.float32 for part in found)
    assert torch.allclose(found.rotations @ found.rotations.mT, torch.eye(3).expand(2, 24, 3, 3), atol=1e-5)
    assert (found.camera - expected.camera).abs().max() < 0.1 * expected.camera.abs().max()


def test_cost_of_the_full_decoder():
    """A tenth of the 1.54e9 multiply-adds of the order in which the official code does it."""
    with torch.device('meta'):
        head, maps = HMR2Head(1280, 'huge'), torch.empty(1, 1280, 16, 12)
        with FlopCounterMode(display=False) as counter:
            head(maps)
    assert counter.get_total_flops() / 2 < 0.08e9


def test_registered_and_trained_from_config():
    head = MODELS.build(dict(type='HMR2Head', in_channels=10, arch=MICRO, num_betas=4, num_joints=22))
    found = head(torch.randn(1, 10, 2, 2))
    assert found.rotations.shape == (1, 22, 3, 3) and found.betas.shape == (1, 4)


@pytest.mark.parametrize(
    ('arch', 'message'),
    [('tiny', "'tiny'"), (dict(MICRO, depth=2), 'depth'), (dict(MICRO, num_heads=0), "'num_heads': 0")],
)
def test_bad_arch_is_named(arch, message):
    with pytest.raises(ValueError, match=message):
        resolve_arch(arch)


def test_presets():
    assert ARCHS['huge'] == ARCHS['large'] and set(ARCHS) == {'huge', 'large', 'base', 'small'}
    assert resolve_arch('small') == dict(
        embed_dims=1024, num_layers=3, num_heads=4, head_dims=16, feedforward_channels=128
    )


def test_wrong_neck_is_named():
    with pytest.raises(ValueError, match=r'maps \(B, 10, h, w\), the neck gives \(2, 11, 4, 3\)'):
        micro()(torch.zeros(2, 11, 4, 3))


def test_export_takes_any_batch():
    head = micro()
    batch = torch.export.Dim('batch', max=64)
    program = torch.export.export(head, (torch.randn(2, 10, 4, 3),), dynamic_shapes=({0: batch},))
    maps = torch.randn(5, 10, 4, 3)
    with torch.no_grad():
        for found, expected in zip(program.module()(maps), head(maps), strict=True):
            assert torch.allclose(found, expected, atol=1e-6)


def test_onnx_round_trip(tmp_path):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    if 'dynamic_shapes' not in inspect.signature(torch.onnx.export).parameters:
        pytest.skip('this PyTorch cannot export dynamic shapes to ONNX')
    head, path = micro(), str(tmp_path / 'head.onnx')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.onnx.export(
            head,
            (torch.randn(2, 10, 4, 3),),
            path,
            dynamo=True,
            verbose=False,
            output_names=['rotations', 'betas', 'camera'],
            dynamic_shapes=({0: torch.export.Dim('batch', max=64)},),
        )
    session = runtime.InferenceSession(path, providers=['CPUExecutionProvider'])
    maps = torch.randn(3, 10, 4, 3)
    found = session.run(None, {session.get_inputs()[0].name: maps.numpy()})
    with torch.no_grad():
        for ours, expected in zip(found, head(maps), strict=True):
            assert (torch.from_numpy(ours) - expected).abs().max() < 1e-5


def test_only_map_positions_tell_where_something_is():
    """A map turned upside down is the same to the official decoder, which has no positions of the map."""
    maps = torch.randn(2, 12, 4, 3)
    for map_positions in (False, True):
        torch.manual_seed(0)
        head = HMR2Head(12, MICRO, map_positions=map_positions).eval()
        with torch.no_grad():
            found, turned = (head(given).rotations for given in (maps, maps.flip(2)))
        assert torch.allclose(found, turned, atol=1e-6) is not map_positions


def test_sine_positions_differ_from_place_to_place():
    positions = sine_positions(8, (16, 12))
    assert positions.shape == (8, 16, 12)
    assert positions.abs().max() <= 1
    places = positions.flatten(1).T
    assert torch.cdist(places, places).fill_diagonal_(1).min() > 0.05
    # the first row is half a cell from the top: sin(pi / 2 * 1 / 32)
    torch.testing.assert_close(positions[0, 0], torch.full((12,), 0.0490677), atol=1e-6, rtol=0)
    with pytest.raises(ValueError, match='divisible by 4, got 10'):
        HMR2Head(10, MICRO, map_positions=True)
