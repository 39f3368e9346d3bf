"""Decoding as of MMPose 0.x: equal to a plain reference, to MMPose 1.x away from the border, and wired in."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from mmpose.registry import KEYPOINT_CODECS

decode = runpy.run_path(str(Path(__file__).parent / 'reference' / 'udp_decoding.py'))['decode']
OPTIONS = dict(input_size=(192, 256), heatmap_size=(48, 64), sigma=2)


@pytest.fixture
def codecs():
    return [KEYPOINT_CODECS.build(dict(type=name, **OPTIONS)) for name in ('UDPHeatmap', 'ViTPoseUDPHeatmap')]


def heatmaps(codec, keypoints, noise=0.01):
    """Targets of keypoints (K, 2), with noise and one smaller peak elsewhere."""
    rng = np.random.default_rng(0)
    maps = codec.encode(keypoints[None].astype(np.float32))['heatmaps']
    maps = 0.8 * maps + 0.3 * np.roll(maps, (9, 7), (1, 2)) + noise * rng.random(maps.shape)
    return maps.astype(np.float32)


def test_equals_the_reference_everywhere(codecs):
    stock, original = codecs
    keypoints = np.random.default_rng(1).uniform([0, 0], [191, 255], (300, 2))
    maps = heatmaps(original, keypoints)
    before = maps.copy()
    found, scores = original.decode(maps)
    np.testing.assert_allclose(found[0], decode(maps, 11, (192, 256)), atol=2e-3)
    np.testing.assert_array_equal(scores[0], maps.max((1, 2)))
    np.testing.assert_array_equal(maps, before)
    assert (found[0].shape, scores.shape) == (stock.decode(maps)[0][0].shape, (1, 300))


def test_differs_from_mmpose_near_the_border_only(codecs):
    stock, original = codecs
    keypoints = np.random.default_rng(2).uniform([0, 0], [191, 255], (400, 2))
    maps = heatmaps(original, keypoints, noise=0)
    cells = np.stack(np.unravel_index(maps.reshape(400, -1).argmax(1), (64, 48)), 1)
    inside = (np.minimum(cells, [63, 47] - cells) > 6).all(1)
    difference = np.linalg.norm(stock.decode(maps)[0][0] - original.decode(maps)[0][0], axis=1)
    assert 50 < inside.sum() < 350
    assert difference[inside].max() < 0.02
    assert np.median(difference[~inside]) > 0.2
    truth = keypoints * [192 / 191, 256 / 255]
    assert np.abs(original.decode(maps)[0][0] - truth)[inside].max() < 0.5


def test_an_empty_map_is_not_refined(codecs):
    maps = np.zeros((2, 64, 48), np.float32)
    maps[1, 30, 20] = 1
    found, scores = codecs[1].decode(maps)
    np.testing.assert_allclose(found[0, 0], [-192 / 47, -256 / 63], rtol=1e-6)
    np.testing.assert_allclose(found[0, 1], [20 * 192 / 47, 30 * 256 / 63], rtol=1e-5)
    assert scores.tolist() == [[0, 1]]


def test_targets_are_the_same(codecs):
    keypoints = np.random.default_rng(3).uniform(0, 191, (1, 17, 2)).astype(np.float32)
    a, b = (codec.encode(keypoints)['heatmaps'] for codec in codecs)
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('options', [dict(heatmap_type='combined'), dict(blur_kernel_size=10)])
def test_bad_options(options):
    with pytest.raises(ValueError, match=r'UDPHeatmap|odd'):
        KEYPOINT_CODECS.build(dict(type='ViTPoseUDPHeatmap', **OPTIONS, **options))


def test_one_option_turns_it_on(repo_root):
    from mmhier.engine.settings import load_settings

    cfg = load_settings(str(repo_root / 'configs/hpe/vitpose_b_coco.py'), {'codec.type': 'ViTPoseUDPHeatmap'})
    (encoder,) = [t['encoder'] for t in cfg.train_dataloader.dataset.pipeline if 'encoder' in t]
    assert cfg.model.head.decoder.type == encoder.type == 'ViTPoseUDPHeatmap'
