"""Models are found, get weights that fit or say what is missing, and compute what MMPose computes."""

import numpy as np
import pytest
import torch
from mmpose.apis import inference_topdown, init_model

from mmhier.geometry.scene_camera import FocalChoice
from mmhier.inference import estimators
from mmhier.inference.estimators import MeshEstimator, PoseEstimator, load_estimator
from mmhier.zoo.names import resolve_config

POSE, MESH = 'swinpose_micro_s3_synth', 'swinhmr2_micro_s3_synth'
BOXES = np.array([[8, 6, 60, 90], [70, 10, 120, 92], [-20, -10, 300, 95]], np.float32)


@pytest.fixture(scope='module')
def pose_checkpoint(tmp_path_factory):
    """Random weights large enough that heatmaps have clear peaks."""
    path = tmp_path_factory.mktemp('weights') / 'pose.pth'
    torch.manual_seed(1)
    model = load_estimator(POSE, 'random', 'cpu').model
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def run(estimator, image):
    crops = [estimator.crop(image, box) for box in BOXES]
    return estimator.poses(estimator.network(crops), crops, [image.shape[:2]] * len(crops))


@pytest.mark.parametrize('flip_test', [False, True])
def test_keypoints_are_those_of_mmpose(pose_checkpoint, pictures, flip_test):
    theirs = init_model(str(resolve_config(POSE)), str(pose_checkpoint), 'cpu')
    theirs.test_cfg['flip_test'] = flip_test
    expected = inference_topdown(theirs, pictures[0], BOXES)
    estimator = load_estimator(POSE, pose_checkpoint, 'cpu', flip_test=flip_test)
    found = run(estimator, pictures[0])
    assert len(found) == len(expected) == 3
    for pose, sample in zip(found, expected):
        np.testing.assert_allclose(pose.keypoints, sample.pred_instances.keypoints[0], atol=1e-3)
        np.testing.assert_allclose(pose.scores, sample.pred_instances.keypoint_scores[0], atol=1e-5)
        assert pose.mesh is None
    assert estimator.keypoint_names[:2] == ('nose', 'left_eye') and (15, 13) in estimator.skeleton


@pytest.mark.parametrize(
    'name',
    [
        'td-hm_vipnas-mbv3_8xb64-210e_coco-256x192',
        'rtmpose-t_8xb256-420e_coco-256x192',
        'td-reg_mobilenetv2_rle-pretrained-8xb64-210e_coco-256x192',
    ],
)
def test_stock_models_are_those_of_mmpose(pictures, tmp_path, name):
    """Heatmaps, SimCC and regression; weights as MMPose writes them."""
    path = resolve_config(f'mmpose::{name}')
    torch.manual_seed(2)
    model = load_estimator(path, 'random', 'cpu').model
    for parameter in model.head.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    torch.save(dict(state_dict=model.state_dict(), meta={}), tmp_path / 'stock.pth')
    theirs = init_model(str(path), str(tmp_path / 'stock.pth'), 'cpu')
    theirs.test_cfg['flip_test'] = False
    expected = inference_topdown(theirs, pictures[0], BOXES)
    estimator = load_estimator(name, tmp_path / 'stock.pth', 'cpu')
    for pose, sample in zip(run(estimator, pictures[0]), expected, strict=True):
        np.testing.assert_allclose(pose.keypoints, sample.pred_instances.keypoints[0], atol=1e-3)
        np.testing.assert_allclose(pose.scores, sample.pred_instances.keypoint_scores[0], atol=1e-5)


def test_what_gives_no_heatmaps_runs_eagerly_only(pictures):
    name = 'rtmpose-t_8xb256-420e_coco-256x192'
    with pytest.raises(ValueError, match='a flip test is for heatmaps, a RTMCCHead gives none'):
        load_estimator(name, 'random', 'cpu', flip_test=True)
    with pytest.raises(ValueError, match='RTMCCHead gives no heatmaps: such a model runs eagerly only'):
        run(load_estimator(name, 'random', 'cpu', engine='compile'), pictures[0])


def test_bodies_are_those_of_the_model(mesh_inferencer, pictures, monkeypatch):
    """With the focal length that HMR2.0 assumes."""
    from mmengine.structures import InstanceData
    from mmpose.structures import PoseDataSample

    estimator = mesh_inferencer.estimator
    monkeypatch.setattr(estimator, 'focal', FocalChoice(focal='official'))
    found = run(estimator, pictures[0])
    crops = [estimator.crop(pictures[0], box) for box in BOXES]
    samples = []
    for crop in crops:
        meta = dict(box_center=crop.center, box_size=float(crop.size[0]), box_rotation=0.0, flip=False)
        samples.append(PoseDataSample(metainfo=dict(meta, sample_key='', ori_shape=pictures[0].shape[:2])))
    inputs = [torch.from_numpy(crop.pixels).permute(2, 0, 1) for crop in crops]
    with torch.inference_mode():
        expected = estimator.model.test_step(dict(inputs=inputs, data_samples=samples))
    for pose, sample in zip(found, expected, strict=True):
        theirs: InstanceData = sample.pred_instances
        np.testing.assert_allclose(pose.keypoints, theirs.keypoints[0], atol=1e-3)
        np.testing.assert_allclose(pose.mesh.vertices(), theirs.vertices[0], atol=1e-5)
        np.testing.assert_allclose(pose.mesh.joints_3d, theirs.keypoints_3d[0], atol=1e-5)
        for name in ('global_orient', 'body_pose', 'betas', 'camera', 'transl'):
            np.testing.assert_allclose(getattr(pose.mesh, name), theirs[name][0], atol=1e-4, err_msg=name)
        assert pose.mesh.focal_length == pytest.approx(theirs.focal_length[0])
        assert pose.mesh.focal_source == 'official'
    assert estimator.keypoint_names == estimator.body.joint_set.names


def test_mesh_models_take_checkpoints_with_or_without_the_prior(mesh_inferencer, tmp_path):
    state = mesh_inferencer.estimator.model.state_dict()
    state = {name: value for name, value in state.items() if not name.startswith('body_model')}
    torch.save(dict(state_dict=state | {'discriminator.layer.weight': torch.zeros(2)}), tmp_path / 'mesh.pth')
    estimator = load_estimator(MESH, tmp_path / 'mesh.pth', 'cpu')
    assert isinstance(estimator, MeshEstimator)
    for name, value in estimator.model.state_dict().items():
        assert torch.equal(value, state[name])


def test_an_engine_stands_in_for_the_model(monkeypatch, pictures, pose_checkpoint):
    made = []

    def make(engine, model, images, wanted, precision):
        made.append((engine, precision, tuple(images.shape)))
        return lambda batch: dict(heatmaps=model(batch, None, mode='tensor'))

    monkeypatch.setattr(estimators, 'open_network', make)
    estimator = load_estimator(POSE, pose_checkpoint, 'cpu', engine='openvino', precision='auto')
    for _ in range(2):
        found = run(estimator, pictures[0])
    assert made == [('openvino', 'auto', (3, 3, 128, 96))]
    expected = run(load_estimator(POSE, pose_checkpoint, 'cpu'), pictures[0])
    np.testing.assert_array_equal(found[1].keypoints, expected[1].keypoints)


def test_random_weights_are_warned_of(caplog):
    assert isinstance(load_estimator(POSE, 'random', 'cpu'), PoseEstimator)
    assert 'random weights' in caplog.text


def test_what_can_be_folded_is_folded():
    estimator = load_estimator('gmfpose_t_s2', 'random', 'cpu')
    assert estimator.model.backbone.fused


def test_weights_of_another_model_are_refused(tmp_path, pose_checkpoint):
    with pytest.raises(FileNotFoundError, match='absent.pth does not exist'):
        load_estimator(POSE, tmp_path / 'absent.pth')
    with pytest.raises(ValueError, match=r'pose.pth is not a checkpoint of swinpose_t_s2_coco: .*missing'):
        load_estimator('swinpose_t_s2', pose_checkpoint)


def test_a_head_with_other_channels_than_keypoints_are_described(monkeypatch):
    monkeypatch.setattr(estimators, '_dataset_meta', lambda cfg: dict(num_keypoints=5))
    with pytest.raises(ValueError, match='out_channels is 17, but its metainfo describes 5 keypoints'):
        load_estimator(POSE, 'random', 'cpu')


def test_wrong_options(monkeypatch):
    with pytest.raises(ValueError, match='flip test is for heatmaps'):
        load_estimator(MESH, 'random', flip_test=True)
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match='PyTorch sees no GPU'):
        load_estimator(POSE, 'random', 'cuda')


def test_models_of_one_of_many_data_sets():
    """One decoder is a model like others, with the keypoints of its data set; all of them are none."""
    estimator = load_estimator('swinpose_t_s3_mpii', weights='random', device='cpu')
    assert len(estimator.keypoint_names) == 16 and estimator.keypoint_names[-1] == 'left_wrist'
    with pytest.raises(
        ValueError, match=r'vitpose_s_seven has a decoder per data set: take one out \(mmhier convert'
    ):
        load_estimator('vitpose_s_seven', weights='random', device='cpu')
