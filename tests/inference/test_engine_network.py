"""Other runtimes and exported files stand in for the model, behind the same results."""

import numpy as np
import pytest
import torch

from mmhier.codecs import ViTPoseUDPHeatmap
from mmhier.deploy import export_model
from mmhier.inference.crops import make_batch
from mmhier.inference.estimators import load_estimator

POSE = 'swinpose_micro_s3_synth'
# Pixels. Heatmaps of random weights may be flat, and the place of their maximum a matter of rounding.
LOOSE = 2.0
BOXES = np.array([[8, 6, 60, 90], [70, 10, 120, 92], [-20, -10, 300, 95]], np.float32)


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp('weights') / 'pose.pth'
    torch.manual_seed(1)
    model = load_estimator(POSE, 'random', 'cpu').model
    torch.nn.init.normal_(model.head.final_layer.weight, std=0.5)  # peaks that keypoints can be read from
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    return path


def keypoints_of(estimator, image):
    crops = [estimator.crop(image, box) for box in BOXES]
    poses = estimator.poses(estimator.network(crops), crops, [image.shape[:2]] * len(crops))
    return np.stack([pose.keypoints for pose in poses]), np.stack([pose.scores for pose in poses])


def assert_close(found, expected):
    """Of random weights a heatmap without anything above zero has no keypoint, and a flat one (some of 51)
    has one that rounding moves; a wrong convention would move all of them.
    """
    clear = expected[1] > 0
    assert clear.mean() > 0.5
    distance = np.abs(found[0] - expected[0]).max(-1)[clear]
    assert np.mean(distance < 0.05) > 0.9 and np.median(distance) < 0.01
    np.testing.assert_allclose(found[1][clear], expected[1][clear], atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize('engine', ['onnxruntime', 'openvino'])
def test_an_engine_by_name(checkpoint, pictures, engine):
    pytest.importorskip(engine)
    pytest.importorskip('onnxscript')
    expected = keypoints_of(load_estimator(POSE, checkpoint, 'cpu'), pictures[0])
    assert_close(keypoints_of(load_estimator(POSE, checkpoint, 'cpu', engine), pictures[0]), expected)


@pytest.mark.parametrize(
    'options',
    [
        dict(format='torchscript'),
        dict(format='torchscript', decode=True),
        dict(format='torchscript', inputs='rgb-uint8', dynamic_batch=False),
    ],
)
def test_an_exported_file_needs_no_checkpoint(checkpoint, pictures, tmp_path, options):
    estimator = load_estimator(POSE, checkpoint, 'cpu')
    expected = keypoints_of(estimator, pictures[0])
    crops = [estimator.crop(pictures[0], box) for box in BOXES]
    images = make_batch(crops, estimator.model.data_preprocessor, 'cpu')
    export_model(estimator.model, images, tmp_path / 'pose.pt', bound=LOOSE, **options)
    found = keypoints_of(load_estimator(POSE, device='cpu', engine=tmp_path / 'pose.pt'), pictures[0])
    assert_close(found, expected)


def test_files_of_other_models_are_refused(checkpoint, pictures, tmp_path):
    estimator = load_estimator(POSE, checkpoint, 'cpu')
    export_model(
        estimator.model, torch.randn(2, 3, 128, 96), tmp_path / 'pose.pt', 'torchscript', bound=LOOSE
    )
    other = load_estimator('swinpose_t_s2_synth', device='cpu', engine=tmp_path / 'pose.pt')
    with pytest.raises(ValueError, match=r'takes images of \[96, 128\].*another one'):
        keypoints_of(other, pictures[0])
    with pytest.raises(FileNotFoundError, match='absent.pt'):
        keypoints_of(load_estimator(POSE, device='cpu', engine=tmp_path / 'absent.pt'), pictures[0])


def test_mesh_models_need_their_parameters(checkpoint, mesh_inferencer, pictures, tmp_path):
    from mmhier.inference.engine_network import open_network

    estimator = load_estimator(POSE, checkpoint, 'cpu')
    export_model(
        estimator.model, torch.randn(2, 3, 128, 96), tmp_path / 'pose.pt', 'torchscript', bound=LOOSE
    )
    wanted = mesh_inferencer.estimator.outputs
    with pytest.raises(ValueError, match='gives heatmaps; this model needs global_orient'):
        open_network(tmp_path / 'pose.pt', estimator.model, torch.zeros(1, 3, 128, 96), wanted)


def test_an_export_of_vitposes_own_weights_is_decoded_as_its_code_does(checkpoint, pictures, tmp_path):
    """The file says so; near the border the two codecs differ, and nothing else would tell them apart."""
    estimator = load_estimator(POSE, checkpoint, 'cpu')
    config = estimator.model.head.decoder
    settings = dict(input_size=config.input_size, heatmap_size=config.heatmap_size, sigma=config.sigma)
    estimator.model.head.decoder = ViTPoseUDPHeatmap(**settings)
    crops = [estimator.crop(pictures[0], box) for box in BOXES]
    images = make_batch(crops, estimator.model.data_preprocessor, 'cpu')
    export_model(estimator.model, images, tmp_path / 'own.pt', format='torchscript', bound=LOOSE)
    found = load_estimator(POSE, device='cpu', engine=tmp_path / 'own.pt')
    assert isinstance(found.model.head.decoder, ViTPoseUDPHeatmap)
    assert_close(keypoints_of(found, pictures[0]), keypoints_of(estimator, pictures[0]))
