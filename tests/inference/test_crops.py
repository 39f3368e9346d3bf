"""Crops are those of MMPose's pipeline and of the mesh pipeline, to the pixel."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.inference.crops import MeshCropper, PoseCropper, make_batch

BOXES = np.array([[10, 20, 100, 200], [-30, 5, 50.5, 300], [0, 0, 320, 240], [5, 5, 6, 6]], np.float32)


@pytest.fixture(scope='module')
def image():
    init_default_scope('mmpose')
    return np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)


@pytest.mark.parametrize('use_udp', [True, False])
@pytest.mark.parametrize('padding', [1.25, 1.0])
def test_pose_crops_are_those_of_mmpose(image, use_udp, padding):
    pipeline = [
        dict(type='LoadImage'),
        dict(type='GetBBoxCenterScale', padding=padding),
        dict(type='TopdownAffine', input_size=(96, 128), use_udp=use_udp),
        dict(type='PackPoseInputs'),
    ]
    theirs, ours = Compose(pipeline), PoseCropper(pipeline)
    assert ours.input_wh == (96, 128)
    for box in BOXES:
        packed = theirs(dict(img=image, bbox=box[None], bbox_score=np.ones(1, np.float32)))
        crop = ours(image, box)
        np.testing.assert_array_equal(crop.pixels, packed['inputs'].permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(crop.center, packed['data_samples'].input_center)
        np.testing.assert_array_equal(crop.size, packed['data_samples'].input_scale)


def test_mesh_crops_are_those_of_the_mesh_pipeline(image, tmp_path, repo_root):
    import cv2

    from mmhier.datasets.mesh.annotation import to_results
    from mmhier.mesh_sample import SMPL_LAYOUT

    cv2.imwrite(str(tmp_path / 'image.png'), image)
    cfg = Config.fromfile(repo_root / 'configs' / 'hmr' / 'swinhmr2_micro_s3_synth.py')
    pipeline = Compose(cfg.val_dataloader.dataset.pipeline)
    ours = MeshCropper(padding=1.2)
    for box in BOXES:
        record = np.zeros((), SMPL_LAYOUT.dtype)
        record['center'], record['scale'] = (box[:2] + box[2:]) / 2, np.float32(1.2) * (box[2:] - box[:2])
        fields = dict(sample_key='', dataset_name='', sample_idx=0, img_path=str(tmp_path / 'image.png'))
        packed = pipeline(to_results(record) | fields)
        crop = ours(image, box)
        difference = np.abs(crop.pixels.astype(int) - packed['inputs'].permute(1, 2, 0).numpy())
        assert difference.max() <= 1 and (difference > 0).mean() < 1e-3  # the centre is a float32 here
        np.testing.assert_allclose(crop.center, packed['data_samples'].box_center, rtol=1e-6)
        assert crop.size[0] == pytest.approx(packed['data_samples'].box_size, rel=1e-6)


def test_batches_are_normalised_as_by_the_model(image):
    preprocessor = MODELS.build(
        dict(
            type='PoseDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
        )
    )
    pipeline = [dict(type='TopdownAffine', input_size=(96, 128))]
    crops = [PoseCropper(pipeline)(image, box) for box in BOXES]
    data = pseudo_collate(
        [dict(inputs=torch.from_numpy(crop.pixels).permute(2, 0, 1), data_samples=None) for crop in crops]
    )
    data['data_samples'] = []
    expected = preprocessor(data, False)['inputs']
    torch.testing.assert_close(make_batch(crops, preprocessor, 'cpu'), expected)


def test_pipelines_with_other_steps_are_refused():
    with pytest.raises(ValueError, match=r'does not know \(RandomFlip\).*MMPoseInferencer'):
        PoseCropper([dict(type='RandomFlip'), dict(type='TopdownAffine', input_size=(96, 128))])
    with pytest.raises(ValueError, match='no TopdownAffine'):
        PoseCropper([dict(type='LoadImage')])


DEMO = runpy.run_path(str(Path(__file__).parents[1] / 'reference' / 'hmr2_demo_crop.py'))['demo_crop']
DEMO_BOXES = [
    [100, 50, 400, 500], [0, 0, 900, 1200], [300, 200, 840, 763], [-300, -200, 700, 800],
    [500, 900, 1400, 1500], [0, 0, 422.0, 563.0], [0, 0, 422.5, 563.4], [-800, 300, -100, 1200],
]  # fmt: skip


@pytest.mark.parametrize('box', DEMO_BOXES)
def test_crops_of_hmr2_are_those_of_its_demo(box):
    """The rule: nothing is added to the box, and what shrinks by more than 2.2 is blurred first."""
    large = np.random.default_rng(0).integers(0, 256, (1200, 900, 3), np.uint8)
    expected, center, side = DEMO(large, np.array(box))
    crop = MeshCropper(padding=1.0, blur=True)(large, np.array(box))
    assert crop.size.tolist() == pytest.approx([side, side], rel=1e-6)
    np.testing.assert_allclose(crop.center, center)
    blurred = side > 1.1 * 512
    assert crop.pixels.dtype == (np.float32 if blurred else np.uint8)
    difference = np.abs(crop.pixels - expected[:, 32:-32])
    # A sample in a thousand falls on the next point of OpenCV's grid, as the reference's points are float32.
    assert np.quantile(difference, 0.999) < 1e-3 and difference.max() < 9
    plain = MeshCropper(padding=1.0)(large, np.array(box)).pixels
    assert (np.abs(plain - expected[:, 32:-32]).mean() > 0.05) == (blurred and box[2] > 0)


@pytest.mark.parametrize('name', ['hmr2_s_mixed', 'hmr2_b_mixed', 'hmr2_l_mixed', 'hmr2_h_mixed'])
def test_configs_of_hmr2_follow_its_demo(name, repo_root):
    cfg = Config.fromfile(repo_root / 'configs' / 'hmr' / f'{name}.py')
    assert cfg.model.test_cfg == dict(padding=1.0, blur=True)


def test_a_padding_of_the_users_own(monkeypatch):
    from mmhier.inference import estimators

    pose = estimators.load_estimator('swinpose_micro_s3_synth', 'random', 'cpu')
    assert pose.crop.padding == 1.25
    padded = estimators.load_estimator('swinpose_micro_s3_synth', 'random', 'cpu', box_padding=1.5)
    image, box = np.zeros((300, 300, 3), np.uint8), np.array([100, 100, 160, 180])
    np.testing.assert_allclose(padded.crop(image, box).size, pose.crop(image, box).size * 1.5 / 1.25)
    with pytest.raises(ValueError, match='box_padding=0'):
        estimators.load_estimator('swinpose_micro_s3_synth', 'random', 'cpu', box_padding=0.0)
    with pytest.raises(ValueError, match='a_model: test_cfg has padding and blur, not paddding'):
        estimators._crop_settings(dict(paddding=1.0), 'a_model')


def test_blurred_and_plain_crops_share_a_batch(image):
    cropper = MeshCropper(padding=1.0, blur=True)
    large = np.repeat(np.repeat(image, 4, 0), 4, 1)
    crops = [cropper(large, np.array(box)) for box in ([0, 0, 900, 900], [0, 0, 90, 90])]
    assert [crop.pixels.dtype for crop in crops] == [np.float32, np.uint8]
    preprocessor = MODELS.build(
        dict(type='PoseDataPreprocessor', mean=[0.0] * 3, std=[1.0] * 3, bgr_to_rgb=True)
    )
    batch = make_batch(crops, preprocessor, 'cpu').numpy()
    for row, crop in zip(batch, crops):
        np.testing.assert_array_equal(row, crop.pixels[..., ::-1].transpose(2, 0, 1).astype(np.float32))
