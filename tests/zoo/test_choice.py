"""From a released name to a drawn picture, for every released format, with the official graph's numbers."""

import io
import re
import runpy
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmpose.registry import MODELS

from mmhier.cli.main import main
from mmhier.codecs import ViTPoseUDPHeatmap
from mmhier.detection import load_detector
from mmhier.engine.initial_weights import check_initial_weights
from mmhier.engine.preflight import check_config
from mmhier.inference.estimators import load_estimator
from mmhier.models.backbones.vit import ViT
from mmhier.network import DownloadError
from mmhier.testing.file_server import Served
from mmhier.zoo import cache, conversion
from mmhier.zoo.choice import check_weights, choose_weights, find_weights, released
from mmhier.zoo.fetch import LicenceError
from mmhier.zoo.names import resolve_config
from mmhier.zoo.registry import Source

POSE = 'swinpose_micro_s3_synth'
TESTS = Path(__file__).parents[1]
_vit = runpy.run_path(str(TESTS / 'convert' / 'test_vit.py'))
_hmr2 = runpy.run_path(str(TESTS / 'convert' / 'test_hmr2.py'))
ARCH, in_format = _vit['ARCH'], _vit['in_format']
reference = runpy.run_path(str(TESTS / 'reference' / 'vit.py'))['vit']
IMAGE = np.random.default_rng(0).integers(0, 256, (64, 48, 3), np.uint8)
BOXES = [[5, 5, 40, 60, 1.0]]
HUGGING_FACE = [('0.', 'deconv1.'), ('1.', 'batchnorm1.'), ('3.', 'deconv2.'), ('4.', 'batchnorm2.')]


@pytest.fixture(scope='module')
def config(tmp_path_factory, repo_root):
    """ViTPose of two narrow blocks."""
    path = tmp_path_factory.mktemp('config') / 'vitpose_s_coco.py'
    path.write_text(narrow(repo_root / 'configs/hpe/vitpose_s_coco.py'))
    return path


def narrow(base: Path) -> str:
    """A config of ViTPose, made narrow."""
    width = ARCH['embed_dims']
    neck = '' if 'simple' in base.stem else f'neck=dict(in_channels={width}, out_channels={width}),'
    return (
        f"_base_ = '{base}'\n"
        f'model = dict(backbone=dict(arch=dict({arguments(ARCH)}, _delete_=True)), {neck}\n'
        f'    head=dict(in_channels={width}))\n'
    )


@pytest.fixture(scope='module')
def network(config):
    """Its network, with weights of which none is trivial."""
    init_default_scope('mmpose')
    torch.manual_seed(0)
    settings = Config.fromfile(config).model
    settings.backbone.init_cfg = None
    network = MODELS.build(settings).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def released_state(network, name: str) -> dict[str, torch.Tensor]:
    """The state dictionary as it is released in a format."""
    project, _, extra = name.partition('+')
    state = {k: v for k, v in in_format(network.backbone, project).items() if k.startswith('backbone.')}
    for key, value in network.head.state_dict().items():
        if project == 'huggingface':
            key = key.replace('final_layer.', 'conv.')
            for ours, theirs in HUGGING_FACE:
                key = re.sub('^deconv_layers.' + re.escape(ours), theirs, key)
        state[('keypoint_head.' if project == 'vitpose' else 'head.') + key] = value
    if extra == ' class token':  # some of ViTPose's files still hold that of their MAE
        state['backbone.cls_token'] = torch.randn(1, 1, ARCH['embed_dims'])
    elif '+' in name:  # six experts, of which the first is the network's
        for key in [key for key in state if '.mlp.fc2.' in key]:
            rows = state[key]
            state[key] = rows[:-4]
            for expert in range(6):
                state[key.replace('.fc2.', f'.experts.{expert}.')] = rows[-4:] + expert
    if extra == ' heads':  # and a decoder for each of the other data sets
        head = {key: value for key, value in state.items() if key.startswith('keypoint_head.')}
        for number, joints in enumerate((14, 16, 17, 17, 133)):
            for key, value in head.items():
                value = torch.randn(joints, *value.shape[1:]) if 'final_layer' in key else value + 1
                state[key.replace('keypoint_head', f'associate_keypoint_heads.{number}')] = value
    return {key: value.contiguous() for key, value in state.items()}


def as_file(state, ending: str) -> bytes:
    if ending == 'safetensors':
        from safetensors.torch import save

        return save(state)
    file = io.BytesIO()
    torch.save(dict(state_dict=state), file)
    return file.getvalue()


KINDS = [
    ('huggingface', 'safetensors'),
    ('huggingface+', 'safetensors'),
    ('openmmlab', 'pth'),
    ('vitpose', 'pth'),
    ('vitpose+ class token', 'pth'),
    ('vitpose+ heads', 'pth'),
]


@pytest.fixture(params=KINDS, ids=lambda kind: kind[0])
def released_entry(request, network, server, make_entry):
    """A released pose model of each format, on a server."""
    project, ending = request.param
    content = as_file(released_state(network, project), ending)
    server.files['/a'] = Served(content)
    settings = dict(kind='pose', configs=('vitpose_s_coco',), file=f'net.{ending}', format=ending)
    return project, make_entry('my-net', content=content, sources=[server.url('/a')], **settings)


def heatmaps_of(network, images):
    """Of the official encoder, one head at a time, then the decoder."""
    state = {
        key.removeprefix('backbone.'): value
        for key, value in in_format(network.backbone, 'vitpose').items()
        if key.startswith('backbone.')
    }
    with torch.inference_mode():
        features = reference(state, images, ARCH['num_heads'])
        return network.head((features,))


def test_pose_from_name_to_picture(released_entry, config, network, server, tmp_path, monkeypatch, capsys):
    project, _ = released_entry
    cv2.imwrite(str(tmp_path / 'photo.png'), IMAGE)
    (tmp_path / 'boxes.json').write_text('{"photo.png": [[5, 5, 40, 60]]}')
    monkeypatch.chdir(tmp_path)
    command = ['infer', 'photo.png', '--model', str(config), '--weights', 'my-net', '--boxes', 'boxes.json']
    assert main([*command, '--out', 'out']) == 0
    drawn = picture_of('out')
    assert drawn.shape == IMAGE.shape
    assert len(server.log) == 1
    estimator = load_estimator(config, 'my-net', 'cpu')
    assert len(server.log) == 1  # nothing is fetched again
    images = torch.randn(1, 3, 256, 192)
    with torch.inference_mode():
        found = estimator.model(images, None, mode='tensor')
    expected = heatmaps_of(network, images)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    theirs = isinstance(estimator.model.head.decoder, ViTPoseUDPHeatmap)
    assert theirs == (project != 'openmmlab')


@pytest.mark.parametrize('project', ['huggingface', 'openmmlab', 'vitpose'])
def test_simple_decoders_from_name_to_heatmaps(project, repo_root, server, make_entry, tmp_path):
    """No deconvolutions: one 3 x 3 convolution behind an upsampled map."""
    path = tmp_path / 'vitpose_s_simple_coco.py'
    path.write_text(narrow(repo_root / 'configs/hpe/vitpose_s_simple_coco.py'))
    init_default_scope('mmpose')
    settings = Config.fromfile(path).model
    settings.backbone.init_cfg = None
    network = MODELS.build(settings).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    content = as_file(released_state(network, project), 'pth')
    server.files['/a'] = Served(content)
    make_entry('my-net', content=content, sources=[server.url('/a')], kind='pose', file='net.pth')
    images = torch.randn(1, 3, 256, 192)
    with torch.inference_mode():
        found = load_estimator(path, 'my-net', 'cpu').model(images, None, mode='tensor')
        state = in_format(network.backbone, 'vitpose')
        state = {k.removeprefix('backbone.'): v for k, v in state.items() if k.startswith('backbone.')}
        maps = network.neck((reference(state, images, ARCH['num_heads']),))
        expected = network.head(maps)
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_conversion_is_kept_with_the_hash_of_its_source(released_entry, config, monkeypatch):
    _, entry = released_entry
    first = load_estimator(config, 'my-net', 'cpu').model.state_dict()
    kept = conversion.kept_path(entry, cache.path_of(entry))
    assert kept.is_file() and cache.read_receipt(cache.path_of(entry)).sha256[:16] in kept.name

    def fail(*_):
        raise AssertionError('converted again')

    with monkeypatch.context() as patch:
        patch.setattr(conversion, 'convert_model_file', fail)
        second = load_estimator(config, 'my-net', 'cpu').model.state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)  # damaged: made again
    third = load_estimator(config, 'my-net', 'cpu').model.state_dict()
    assert all(torch.equal(first[key], third[key]) for key in first)


def test_a_file_of_another_project_is_converted_on_the_way(network, config, tmp_path):
    path = tmp_path / 'vitpose.pth'
    path.write_bytes(as_file(released_state(network, 'vitpose+'), 'pth'))
    estimator = load_estimator(config, path, 'cpu')
    expected = network.state_dict()
    assert all(
        torch.allclose(value, expected[k], atol=1e-6) for k, value in estimator.model.state_dict().items()
    )
    assert isinstance(estimator.model.head.decoder, ViTPoseUDPHeatmap)


def test_a_file_that_cannot_be_converted_says_why(network, config, tmp_path):
    path = tmp_path / 'vitpose.pth'
    weights = released_state(network, 'vitpose') | {'keypoint_head.extra': torch.zeros(1)}
    path.write_bytes(as_file(weights, 'pth'))
    with pytest.raises(
        ValueError, match='cannot be made a checkpoint of vitpose_s_coco: .* keypoint_head.extra'
    ):
        load_estimator(config, path, 'cpu')


def test_names_in_configs(released_entry, config, network):
    """``load_from`` gets the whole model under our names, ``init_cfg`` of a backbone finds its part."""
    loaded = CheckpointLoader.load_checkpoint('my-net')['state_dict']
    assert loaded.keys() == network.state_dict().keys()
    backbone = MODELS.build(
        dict(
            type='mmpose.ViT',
            arch=ARCH,
            img_size=(256, 192),
            init_cfg=dict(type='Pretrained', checkpoint='my-net'),
        )
    )
    backbone.init_weights()
    expected = network.backbone.state_dict()
    assert all(
        torch.allclose(value, expected[key], atol=1e-6) for key, value in backbone.state_dict().items()
    )


def test_files_are_converted_by_name_and_address(released_entry, network, server, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'torch'))
    expected = network.state_dict()
    experts = '+' in released_entry[0] and 'token' not in released_entry[0]
    dataset = ['--dataset', 'coco'] if experts else []
    address = server.url(f'/a.{released_entry[1].format}')
    server.files[address.removeprefix(server.address)] = server.files['/a']
    for source in ('my-net', 'my_net', address):
        out = tmp_path / 'out.safetensors'
        assert main(['convert', source, str(out), '--whole-model', *dataset]) == 0
        found = CheckpointLoader.load_checkpoint(str(out))
        assert found.keys() == expected.keys()
        assert all(torch.allclose(value, expected[key], atol=1e-6) for key, value in found.items())
    assert main(['convert', 'my-nett', str(out)]) == 1 and main(['convert', 'yolox-s', str(out)]) == 1


def test_initial_weights_by_name(server, make_entry, network):
    content = as_file(_vit['mae'](network.backbone), 'pth')
    server.files['/a'] = Served(content)
    make_entry('my-init', content=content, sources=[server.url('/a')], file='net.pth')
    init_cfg = dict(type='Pretrained', checkpoint='my-init')
    backbone = MODELS.build(dict(type='mmpose.ViT', arch=ARCH, img_size=(256, 192), init_cfg=init_cfg))
    backbone.init_weights()
    key = 'layers.0.attn.qkv.weight'
    assert torch.equal(backbone.state_dict()[key], network.backbone.state_dict()[key])
    with pytest.raises(FileNotFoundError, match="no weights named 'my-innit'; did you mean my-init"):
        CheckpointLoader.load_checkpoint('my-innit')
    with pytest.raises(ValueError, match='to begin training from'):
        choose_weights(resolve_config('vitpose_s'), 'my-init')


def test_a_models_own_weights_come_before_released_ones(make_entry, server, tmp_path, monkeypatch, network):
    monkeypatch.chdir(tmp_path)
    config = resolve_config('vitpose_s')
    with pytest.raises(
        DownloadError, match='vitpose_s_coco has no weights in pretrained/.*vitpose-plus-small'
    ):
        monkeypatch.setenv('MMHIER_OFFLINE', '1')
        choose_weights(config)
    with pytest.raises(LicenceError, match='hmr2_h_mixed has no weights.*mmhier models download hmr2b'):
        monkeypatch.delenv('MMHIER_OFFLINE')
        choose_weights(resolve_config('hmr2_h'))
    with pytest.raises(FileNotFoundError, match='swinpose_s_s3_coco needs weights'):
        choose_weights(resolve_config('swinpose_s_s3'), 'auto')
    Path('pretrained').mkdir()
    Path('pretrained/vitpose_s_coco.pth').touch()
    assert choose_weights(config) == (Path('pretrained/vitpose_s_coco.pth'), None)
    with pytest.raises(FileNotFoundError, match=r'checkpoint a/b\.pth does not exist'):
        choose_weights(config, 'a/b.pth')


def test_weights_are_found_where_training_leaves_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = resolve_config(POSE)
    with pytest.raises(FileNotFoundError, match=rf'{POSE} needs weights.*mmhier train'):
        load_estimator(POSE)
    quickstart = tmp_path / 'work_dirs' / 'quickstart' / 'train'
    quickstart.mkdir(parents=True)
    (quickstart / f'{POSE}.py').touch()
    for place in (
        'work_dirs/quickstart/train/best_AP.pth',
        f'work_dirs/{POSE}/epoch_3.pth',
        f'work_dirs/{POSE}/best_AP.pth',
        f'pretrained/{POSE}.pth',
    ):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert find_weights(config) == path.relative_to(tmp_path)


def test_what_is_meant_by_wrong_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('epoch_210.pth').touch()
    for wrong, said in (
        ('epoch_120.pth', 'epoch_120.pth does not exist; did you mean epoch_210.pth'),
        ('a/absent.pth', 'absent.pth does not exist$'),
        ('vitpose-plus-smal', 'vitpose-plus-smal does not exist, and .* did you mean vitpose-plus-small'),
    ):
        for look in (released, lambda name: check_weights(resolve_config(POSE), name)):
            with pytest.raises(FileNotFoundError, match=said):
                look(wrong)
    assert released('https://example.com/a.pth') is None and released('epoch_210.pth') is None
    assert released('vitpose_plus_small').name == 'vitpose-plus-small'
    assert check_weights(resolve_config('vitpose_s')) == 'vitpose-plus-small'  # nothing is fetched


def test_a_run_fetches_names_before_it_starts(server, make_entry):
    server.files['/a'] = Served(as_file({'a': torch.ones(1)}, 'pth'))
    make_entry('my-init', sources=[server.url('/a')], file='net.pth')
    make_entry('my-net', sources=[server.url('/a')], file='net.pth', kind='pose')
    init_cfg = dict(type='Pretrained', checkpoint='my-init')
    for _ in range(2):
        check_initial_weights(dict(backbone=dict(init_cfg=init_cfg)))
        check_config(Config(dict(load_from='my-net')), ())
    assert len(server.log) == 2
    with pytest.raises(ValueError, match='my-init is not the weights of a whole model'):
        check_config(Config(dict(load_from='my-init')), ())
    with pytest.raises(ValueError, match='my-net cannot be resumed from.*load_from=my-net starts from'):
        check_config(Config(dict(load_from='my-net', resume=True)), ())
    with pytest.raises(ValueError, match='it is for --detector'):
        check_initial_weights(dict(init_cfg=dict(type='Pretrained', checkpoint='yolox-s')))


def test_weights_of_another_model_are_named(released_entry):
    with pytest.raises(ValueError, match='not a checkpoint of vitpose_b_coco.*it is for vitpose_s_coco'):
        load_estimator('vitpose_b', 'my-net', 'cpu')


# --- meshes ------------------------------------------------------------------------------------------------


@pytest.fixture
def mesh_config(tmp_path, repo_root):
    """HMR2.0 of two narrow blocks, on the licence-free body."""
    path = tmp_path / 'hmr2_s_synth.py'
    path.write_text(
        f"_base_ = '{repo_root}/configs/hmr/hmr2_s_synth.py'\n"
        f'backbone = dict(arch=dict({arguments(_hmr2["VIT_ARCH"])}, _delete_=True))\n'
        f'head = dict(arch=dict({arguments(_hmr2["DECODER"])}, _delete_=True), in_channels=12)\n'
        'model = dict(backbone=backbone, neck=dict(in_channels=12, out_channels=12), head=head)\n'
        'del backbone, head\n'
    )
    return path


def tarred(members: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode='w') as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


RUN = 'logs/train/multiruns/hmr2/0'
CHECKPOINT = f'{RUN}/checkpoints/epoch=35-step=1000000.ckpt'


@pytest.mark.parametrize('release', ['hmr2b', 'hmr2a', 'hmr2-small'])
def test_mesh_from_name_to_vertices(
    release, server, make_entry, mesh_config, tmp_path, monkeypatch, anny, home
):
    """Lightning's checkpoint of HMR2.0, with the parts of SMPL that it holds.

    HMR2.0b lies in a tar beside a file of SMPL, HMR2.0a by itself, the small one in a ZIP that only a browser
    gets.
    """
    vit = ViT(_hmr2['VIT_ARCH'], img_size=(256, 192), drop_path_rate=0.0)
    weights = _hmr2['vit_weights'](_hmr2['mesh_model'](vit, 12))
    file = io.BytesIO()
    torch.save({'state_dict': weights, 'pytorch-lightning_version': '1.8.1'}, file)
    content = file.getvalue()
    if release == 'hmr2b':
        smpl = {'data/smpl/SMPL_NEUTRAL.pkl': b'licensed', f'{RUN}/model_config.yaml': b'SMPL: {}'}
        packed = tarred(smpl | {CHECKPOINT: content})
        source = Source(server.url('/a.tar.gz'), member=CHECKPOINT, bytes=len(packed))
    elif release == 'hmr2a':
        packed, source = content, Source(server.url('/epoch%3D10-step%3D25000.ckpt'))
    else:
        packed, source = zipped('hmr/last.ckpt', content), Source(file='hmr.zip', member='**/last.ckpt')
    if source.url:
        server.files[source.url.removeprefix(server.address)] = Served(packed)
    settings = dict(kind='mesh', file='net.ckpt', format='ckpt', non_commercial='yes')
    make_entry('my-mesh', content=content, sources=[source], **settings)
    by_hand = source.url is None
    with pytest.raises(DownloadError if by_hand else LicenceError, match='hmr.zip|--accept-licence'):
        load_estimator(mesh_config, 'my-mesh', 'cpu')
    if by_hand:
        (home / 'models/my-mesh').mkdir(parents=True)
        (home / 'models/my-mesh/hmr.zip').write_bytes(packed)
    assert main(['models', 'download', 'my-mesh', '--accept-licence']) == 0
    estimator = load_estimator(mesh_config, 'my-mesh', 'cpu')
    images = torch.randn(1, 3, 256, 192)
    found = estimator._eager(images)
    encoder = {k.removeprefix('backbone.'): v for k, v in weights.items() if k.startswith('backbone.')}
    decoder = {k.removeprefix('smpl_head.'): v for k, v in weights.items() if k.startswith('smpl_head.')}
    maps = reference(encoder, images, _hmr2['VIT_ARCH']['num_heads'])
    rotations, betas, camera = _hmr2['REFERENCE_HEAD'](decoder, maps, _hmr2['DECODER']['num_heads'])
    expected = estimator.body(
        global_orient=rotations[:, :1], body_pose=rotations[:, 1:], betas=betas
    ).vertices
    bodies = {key: value for key, value in found.items() if key != 'camera'}
    vertices = estimator.body(**bodies).vertices
    assert vertices.shape[1] > 1000 and (vertices - expected).abs().max() < 1e-3  # metres; the body is random
    assert (found['camera'] - camera).abs().max() < 1e-3
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('photo.png', IMAGE)
    command = ['infer', 'photo.png', '--model', str(mesh_config), '--weights', 'my-mesh', '--detector']
    assert main([*command, 'whole_image', '--out', 'out', '--save', 'json,overlay,glb']) == 0
    assert picture_of('out').shape == IMAGE.shape and list(Path('out').glob('*.glb'))
    assert len(server.log) == (0 if by_hand else 1)
    kept = [path for path in home.rglob('*') if path.is_file()]
    assert kept and not any(b'licensed' in path.read_bytes() or 'SMPL' in path.name for path in kept)


def picture_of(folder) -> np.ndarray:
    (path,) = Path(folder).glob('photo_overlay.*')
    return cv2.imread(str(path))


def arguments(settings) -> str:
    return ', '.join(f'{key}={value}' for key, value in settings.items())


def zipped(name: str, content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w') as archive:
        archive.writestr(name, content)
    return stream.getvalue()


# --- detectors ---------------------------------------------------------------------------------------------


def detectors(folder: Path) -> dict[str, tuple[bytes, list]]:
    """Family -> its file and the boxes that it finds on an image of 64 x 32."""
    made = runpy.run_path(str(TESTS / 'detection' / 'test_onnx_detector.py'))
    dets = np.array([[[1, 2, 30, 31, 0.9]]], np.float32), np.zeros((1, 1), np.int64)
    outputs = {
        'yolox': ({'output': made['grid_output'](made['GRID'])}, made['GRID_BOXES']),
        'rtmdet': ({'dets': dets[0], 'labels': dets[1]}, [[1, 2, 30, 31]]),
        'dfine': (made['QUERIES'], [[16, 0, 48, 32], [16, 1.6, 48, 30.4], [12.8, 12.8, 19.2, 19.2]]),
    }
    return {
        k: (made['save'](folder / f'{k}.onnx', v).read_bytes(), boxes) for k, (v, boxes) in outputs.items()
    }


@pytest.mark.parametrize('family', ['yolox', 'rtmdet', 'dfine'])
@pytest.mark.parametrize('in_archive', [False, True])
def test_detectors_by_name(family, in_archive, server, make_entry, tmp_path):
    pytest.importorskip('onnxruntime')
    content, expected = detectors(tmp_path)[family]
    server.files['/a'] = Served(zipped('sdk/end2end.onnx', content) if in_archive else content)
    source = Source(server.url('/a'), 'a.zip', '**/end2end.onnx') if in_archive else server.url('/a')
    settings = dict(kind='detector', file='net.onnx', format='onnx', family=family)
    make_entry('my-detector', content=content, sources=[source], **settings)
    image = np.full((32, 64, 3), 90, np.uint8)
    boxes, _ = load_detector('my-detector')(image)
    np.testing.assert_allclose(boxes, expected, atol=1e-3)
    assert load_detector('my_detector').family == family
    if not in_archive:
        cv2.imwrite(str(tmp_path / 'photo.png'), image)
        command = ['infer', str(tmp_path / 'photo.png'), '--model', POSE, '--weights', 'random', '--quiet']
        assert (
            main([*command, '--detector', 'my-detector', '--draw-boxes', '--out', str(tmp_path / 'out')]) == 0
        )
        assert (picture_of(tmp_path / 'out') != image).any()
    assert len(server.log) == 1


def test_the_default_detector_or_the_whole_image(
    server, make_entry, tmp_path, pose_inferencer, monkeypatch, caplog
):
    pytest.importorskip('onnxruntime')
    image = np.full((32, 64, 3), 90, np.uint8)
    content, expected = detectors(tmp_path)['yolox']
    settings = dict(kind='detector', file='net.onnx', format='onnx', family='yolox')
    make_entry('yolox-s', content=content, sources=[server.url('/a')], **settings)
    monkeypatch.setattr(pose_inferencer, 'detector', None)
    (result,) = pose_inferencer(image)
    assert [person.bbox.tolist() for person in result.people] == [[0, 0, 64, 32]]
    assert 'the whole image is taken as one person: yolox-s could not be downloaded' in caplog.text
    server.files['/a'] = Served(content)
    monkeypatch.setattr(pose_inferencer, 'detector', None)
    (result,) = pose_inferencer(image)
    np.testing.assert_allclose([person.bbox for person in result.people], expected, atol=1e-3)
    monkeypatch.setattr(pose_inferencer, 'detector', None)
    caplog.clear()
    (result,) = pose_inferencer(image, [[1, 2, 30, 31]])
    assert pose_inferencer.detector is None  # where boxes are given nothing is fetched


def test_infer_without_options(server, make_entry, network, config, tmp_path, monkeypatch, capsys):
    """A photo in, people drawn, one line that says by what."""
    pytest.importorskip('onnxruntime')
    content, boxes = detectors(tmp_path)['yolox']
    weights = as_file(released_state(network, 'huggingface+'), 'safetensors')
    server.files |= {'/d': Served(content), '/w': Served(weights)}
    detector = dict(kind='detector', file='net.onnx', format='onnx', family='yolox')
    make_entry('yolox-s', content=content, sources=[server.url('/d')], **detector)
    pose = dict(kind='pose', file='net.safetensors', format='safetensors', configs=('vitpose_s_coco',))
    make_entry('vitpose-plus-small', content=weights, sources=[server.url('/w')], **pose)
    monkeypatch.setattr('mmhier.zoo.names.config_folder', lambda: tmp_path / 'configs')
    (tmp_path / 'configs/hpe').mkdir(parents=True)
    (tmp_path / 'configs/hpe/vitpose_s_coco.py').write_text(config.read_text())
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('photo.png', np.full((32, 64, 3), 90, np.uint8))
    assert main(['infer', 'photo.png']) == 0
    out, err = capsys.readouterr()
    assert f'1 frames, {len(boxes)} people' in out and list(Path('work_dirs/infer').glob('photo_overlay.*'))
    (line,) = [line for line in err.splitlines() if line.startswith('mmhier: model')]
    assert line.startswith(
        'mmhier: model vitpose_s_coco, weights vitpose-plus-small (CC BY 4.0; trained on own'
    )
    assert '; detector yolox-s (CC BY 4.0; ' in line
    assert sorted(path for path, _ in server.log) == ['/d', '/w']
    assert (
        main(
            ['infer', 'photo.png', '--weights', 'vitpose-plus-small', '--detector', 'whole_image', '--quiet']
        )
        == 0
    )
    assert 'mmhier: model' not in capsys.readouterr().err
