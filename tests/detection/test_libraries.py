"""Detectors of other libraries, against stand-ins with the same interface: what they are asked for.

The libraries themselves are optional; where one is there, one of its networks runs with random weights.
"""

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch import nn

from mmhier.detection import load_detector
from mmhier.detection.onnx_detector import FAMILIES, letterbox
from mmhier.network import DownloadError

IMAGE = np.zeros((40, 60, 3), np.uint8)
IMAGE[..., 0], IMAGE[..., 2] = 255, 51  # blue, some red

BOXES = torch.tensor([[1.0, 2, 30, 40], [0, 0, 9, 9], [5, 5, 90, 20], [0, 0, 3, 3]])
SCORES = torch.tensor([0.9, 0.8, 0.7, 0.1])


class TorchvisionModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, images):
        (image,) = images
        assert not self.training and image.shape == (3, 40, 60)
        assert torch.allclose(image[:, 0, 0], torch.tensor([0.2, 0.0, 1.0]))  # RGB, 0 to 1
        return [dict(boxes=BOXES * self.scale, scores=SCORES, labels=torch.tensor([1, 18, 1, 1]))]


@pytest.fixture
def torchvision(monkeypatch):
    calls = []

    def get_model(name, **kwargs):
        calls.append((name, kwargs))
        return TorchvisionModel()

    package, models = ModuleType('torchvision'), ModuleType('torchvision.models')
    models.detection = ModuleType('torchvision.models.detection')
    models.get_model, package.models = get_model, models
    models.list_models = lambda module: ['fasterrcnn_resnet50_fpn_v2', 'retinanet_resnet50_fpn']
    for module in (package, models, models.detection):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    models.calls = calls
    return models


def test_torchvision(torchvision):
    detector = load_detector('torchvision')
    boxes, scores = detector(IMAGE)
    assert detector.left_out == {'detections of other things than people': 1}
    assert boxes.tolist() == [[1, 2, 30, 40], [5, 5, 60, 20]] and np.allclose(scores, [0.9, 0.7])
    assert torchvision.calls == [('fasterrcnn_resnet50_fpn_v2', dict(weights='DEFAULT'))]


def test_torchvision_with_own_weights(torchvision, tmp_path):
    path = tmp_path / 'weights.pth'
    torch.save(dict(scale=torch.full((1,), 0.5)), path)
    spec = dict(type='torchvision', name='retinanet_resnet50_fpn', weights=path, score_threshold=0.8)
    boxes, _ = load_detector(spec)(IMAGE)
    assert boxes.tolist() == [[0.5, 1, 15, 20]]
    assert torchvision.calls == [('retinanet_resnet50_fpn', dict(weights=None, weights_backbone=None))]
    with pytest.raises(FileNotFoundError, match='missing.pth'):
        load_detector(dict(type='torchvision', weights='missing.pth'))


def test_torchvision_errors(torchvision, monkeypatch):
    with pytest.raises(
        ValueError, match=r"no detection model 'yolo': it has fasterrcnn_resnet50_fpn_v2, retina"
    ):
        load_detector('torchvision:yolo')

    def offline(name, **kwargs):
        raise URLError('no route to host')

    monkeypatch.setattr(torchvision, 'get_model', offline)
    with pytest.raises(
        DownloadError, match='torchvision:.* cannot be downloaded .no route to host.: give a file'
    ):
        load_detector('torchvision')

    def damaged(name, **kwargs):
        raise RuntimeError('invalid hash value (expected "0", got "1")')

    monkeypatch.setattr(torchvision, 'get_model', damaged)
    with pytest.raises(DownloadError, match='is downloaded damaged .invalid hash value .*: give a file'):
        load_detector('torchvision')
    monkeypatch.setitem(sys.modules, 'torchvision', None)
    monkeypatch.setitem(sys.modules, 'torchvision.models', None)
    with pytest.raises(ImportError, match='pip install torchvision'):
        load_detector('torchvision')


def test_torchvision_itself(tmp_path):
    """The real library: a random network of its smallest kind runs and obeys the interface."""
    try:
        from torchvision import models
    except (ImportError, RuntimeError) as error:
        pytest.skip(str(error))
    name = 'ssdlite320_mobilenet_v3_large'
    torch.save(models.get_model(name, weights=None, weights_backbone=None).state_dict(), tmp_path / 'w.pth')
    detect = load_detector(
        dict(type='torchvision', name=name, weights=tmp_path / 'w.pth', score_threshold=0.0)
    )
    boxes, scores = detect(IMAGE)
    assert boxes.ndim == 2 and boxes.shape == (len(scores), 4) and boxes.dtype == np.float32


@pytest.fixture
def mmdet(monkeypatch, tmp_path):
    from mmengine.registry import DefaultScope

    calls = []

    def init_detector(config, checkpoint, device):
        calls.append((config, checkpoint, device, DefaultScope.get_current_instance().scope_name))
        return SimpleNamespace(dataset_meta=dict(classes=('dog', 'person')))

    def inference_detector(model, image):
        assert DefaultScope.get_current_instance().scope_name == 'mmdet' and image is IMAGE
        found = SimpleNamespace(bboxes=BOXES, scores=SCORES, labels=torch.tensor([1, 0, 1, 1]))
        return SimpleNamespace(pred_instances=found)

    package, apis = ModuleType('mmdet'), ModuleType('mmdet.apis')
    apis.init_detector, apis.inference_detector, apis.calls = init_detector, inference_detector, calls
    for module in (package, apis):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    for name in ('config.py', 'weights.pth'):
        (tmp_path / name).touch()
    apis.spec = f'mmdet:{tmp_path}/config.py,{tmp_path}/weights.pth'
    return apis


def test_mmdet(mmdet, tmp_path):
    detect = load_detector(mmdet.spec, device='cuda:1')
    boxes, scores = detect(IMAGE)
    assert boxes.tolist() == [[1, 2, 30, 40], [5, 5, 60, 20]] and np.allclose(scores, [0.9, 0.7])
    assert detect.left_out == {'detections of other things than people': 1}
    assert mmdet.calls == [(f'{tmp_path}/config.py', f'{tmp_path}/weights.pth', 'cuda:1', 'mmdet')]


def test_mmdet_errors(mmdet, monkeypatch, tmp_path):
    (tmp_path / 'weights.pth').unlink()
    with pytest.raises(FileNotFoundError, match=r'weights\.pth: there is no such file'):
        load_detector(mmdet.spec)
    (tmp_path / 'weights.pth').touch()
    monkeypatch.setattr(mmdet, 'init_detector', lambda *args, **kwargs: SimpleNamespace(dataset_meta=None))
    with pytest.raises(ValueError, match="knows no class 'person', but none"):
        load_detector(mmdet.spec)
    monkeypatch.setitem(sys.modules, 'mmdet', None)
    monkeypatch.setitem(sys.modules, 'mmdet.apis', None)
    with pytest.raises(ImportError, match='pip install mmdet'):
        load_detector(mmdet.spec)


def test_mmdet_itself(tmp_path):
    """The real library: RTMDet sees what ``OnnxDetector`` gives to an exported RTMDet."""
    mmdet = pytest.importorskip('mmdet')
    from mmdet.apis import init_detector
    from mmengine.registry import DefaultScope

    config = Path(mmdet.__file__).parent / '.mim/configs/rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = init_detector(str(config), None, device='cpu')
    state = dict(state_dict=model.state_dict(), meta=dict(dataset_meta=model.dataset_meta))
    torch.save(state, tmp_path / 'weights.pth')
    detect = load_detector(f'mmdet:{config},{tmp_path}/weights.pth', score_threshold=0.0)
    seen = []
    detect._model.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    image = np.random.default_rng(0).integers(0, 255, (300, 500, 3), np.uint8)
    boxes, scores = detect(image)
    assert boxes.shape == (len(scores), 4) and boxes.dtype == np.float32
    mean, std = FAMILIES['rtmdet']
    expected = (letterbox(image, (640, 640))[0] - np.array(mean)) / np.array(std)
    np.testing.assert_allclose(seen[0][0].permute(1, 2, 0).numpy(), expected, atol=1e-5)
