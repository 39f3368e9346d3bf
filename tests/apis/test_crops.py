"""Crops are those of MMPose's pipeline and of the mesh pipeline, to the pixel."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.apis.crops import MeshCropper, PoseCropper, make_batch

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

    from mmhier.datasets.mesh.annotation import ANNOTATION_DTYPE, to_results

    cv2.imwrite(str(tmp_path / 'image.png'), image)
    cfg = Config.fromfile(repo_root / 'configs' / 'hmr' / 'swinhmr2_micro_s3_synth.py')
    pipeline = Compose(cfg.val_dataloader.dataset.pipeline)
    ours = MeshCropper(padding=1.2)
    for box in BOXES:
        record = np.zeros((), ANNOTATION_DTYPE)
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
