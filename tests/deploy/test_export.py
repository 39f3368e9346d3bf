"""Every family is exported to every format, with any batch, and gives the model's numbers."""

import copy
import json

import numpy as np
import pytest
import torch
from mmpose.codecs import MSRAHeatmap
from mmpose.registry import KEYPOINT_CODECS

from mmhier.deploy import export, export_model, formats, load_exported
from mmhier.deploy.export import raw_images
from mmhier.deploy.formats import ENDINGS, onnx_model
from mmhier.deploy.graphs import UDPDecoder, graph_of, run_model

FAMILIES = ('swin', 'gmf', 'vmamba', 'vit')
# Pixels. In flat heatmaps of random weights rounding moves keypoints far; heatmaps are compared instead.
LOOSE = 1e3
METADATA = dict(config='name', keypoint_names=['a', 'b'])
CODEC = dict(type='UDPHeatmap', input_size=(48, 64), heatmap_size=(12, 16), sigma=1.5)
# MMPose's keypoints over those of a graph: its last centre is (W, H), not (W - 1, H - 1).
LAST_CENTRE = np.array([48 / 47, 64 / 63])


def needs(format):
    for name in dict(onnx=['onnx', 'onnxscript', 'onnxruntime'], openvino=['onnxscript', 'openvino']).get(
        format, []
    ):
        pytest.importorskip(name)


@pytest.fixture(scope='module')
def exports(tmp_path_factory, pose_model, images):
    """Export a family to a format, once; what all its files start from, the conversion, is made once, too."""
    folder = tmp_path_factory.mktemp('exports')
    conversions, parities = {}, {}

    def of(family, format, precision='float32', **options):
        def converted(*arguments):
            if family not in conversions:
                conversions[family] = onnx_model(*arguments)
            return copy.deepcopy(conversions[family])

        needs(format)
        path = folder / f'{family}_{precision}' / f'model{ENDINGS[format]}'
        if path not in parities:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(formats, 'onnx_model', converted)
                model, given = pose_model(family), dict(options, precision=precision, metadata=METADATA)
                parities[path] = export_model(model, images, path, format, **given)
        return path, parities[path]

    return of


@pytest.mark.parametrize('format', ['onnx', 'openvino'])
@pytest.mark.parametrize('family', FAMILIES)
def test_every_family_with_any_batch(family, format, exports, pose_model, images):
    path, parity = exports(family, format)
    assert parity.passed and parity.values > 10 and parity.differences['keypoints']['mean'] < 0.01
    engine = load_exported(path)
    expected = run_model(pose_model(family), images)['heatmaps']
    for batch in (1, 3):
        found = engine(images[:batch])['heatmaps']
        torch.testing.assert_close(found, expected[:batch], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('format', ['onnx', 'openvino'])
def test_half_precision(format, exports, images):
    whole, half = exports('vit', format)[0], exports('vit', format, 'fp16', bound=LOOSE)[0]
    expected, found = (load_exported(path)(images)['heatmaps'] for path in (whole, half))
    assert found.dtype == torch.float32
    assert 0 < (found - expected).abs().max() < 0.01 * expected.abs().max()
    ending = '.bin' if format == 'openvino' else '.onnx'
    assert half.with_suffix(ending).stat().st_size < 0.75 * whole.with_suffix(ending).stat().st_size


@pytest.mark.parametrize(
    ('format', 'precision', 'family'),
    [
        ('torchscript', 'float32', 'vmamba'),
        ('torchscript', 'fp16', 'vmamba'),
        ('exported-program', 'float32', 'vmamba'),
        ('exported-program', 'fp16', 'vit'),
    ],
)
def test_formats_of_pytorch(format, precision, family, pose_model, images, tmp_path):
    model = pose_model(family)
    path = tmp_path / f'model{ENDINGS[format]}'
    export_model(model, images, path, format, precision=precision, bound=LOOSE)
    found = load_exported(path)(images[:3])['heatmaps']
    expected = run_model(model, images[:3])['heatmaps']
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-2 if precision == 'fp16' else 1e-4)


@pytest.mark.parametrize('kind', ['UDPHeatmap', 'ViTPoseUDPHeatmap'])
def test_decoding_in_the_graph_is_that_of_the_codec(kind):
    codec = KEYPOINT_CODECS.build({**CODEC, 'type': kind})
    rng = np.random.default_rng(0)
    places = rng.uniform([-3, -3], [50, 66], (40, 2))  # beyond the border, too
    maps = []
    for x, y in places:
        shape = (np.arange(12) * 47 / 11 - x) ** 2 / 60, (np.arange(16) * 63 / 15 - y) ** 2 / 60
        maps.append(np.exp(-shape[0][None] - shape[1][:, None]) + 0.02 * rng.random((16, 12)))
    maps = np.array(maps, np.float32).reshape(8, 5, 16, 12)
    keypoints, scores = UDPDecoder(codec)(torch.from_numpy(maps))
    for index in range(8):
        expected, expected_scores = codec.decode(maps[index])
        np.testing.assert_allclose(keypoints[index] * LAST_CENTRE, expected[0], atol=2e-3)
        np.testing.assert_allclose(scores[index], expected_scores[0], rtol=1e-6)


def test_convention_of_keypoints():
    decoder = UDPDecoder(KEYPOINT_CODECS.build(CODEC))
    x, y = torch.meshgrid(torch.arange(12), torch.arange(16), indexing='xy')
    maps = [(-((x - peak[0]) ** 2 + (y - peak[1]) ** 2) / 4).exp() for peak in ((3, 4), (8, 11))]
    keypoints, _ = decoder(torch.stack(maps)[None])
    expected = torch.tensor([[3 * 47 / 11, 4 * 63 / 15], [8 * 47 / 11, 11 * 63 / 15]])
    torch.testing.assert_close(keypoints[0], expected, atol=0.05, rtol=0)  # blurred at the border


def test_a_heatmap_without_a_peak_has_no_place():
    decoder = UDPDecoder(KEYPOINT_CODECS.build(CODEC))
    keypoints, scores = decoder(torch.full((1, 2, 16, 12), -1.0))
    torch.testing.assert_close(keypoints[0, 0], torch.tensor([-47 / 11, -63 / 15]))
    assert (scores < 0).all()


def test_other_codecs_are_refused():
    with pytest.raises(
        ValueError, match='UDPHeatmap of the type gaussian, this codec is .*: export heatmaps'
    ):
        UDPDecoder(MSRAHeatmap((48, 64), (12, 16), 2.0))


def test_raw_pictures_in_and_keypoints_out(pose_model, images, tmp_path):
    needs('onnx')
    model = pose_model('vit')
    images = (
        raw_images(model, images, 'rgb-float') - model.data_preprocessor.mean
    ) / model.data_preprocessor.std
    path = tmp_path / 'model.onnx'
    export_model(model, images, path, decode=True, inputs='rgb-uint8', dynamic_batch=False)
    engine = load_exported(path)
    pixels = raw_images(model, images[:1], 'rgb-uint8')
    found = engine(pixels)
    assert set(found) == {'keypoints', 'scores'} and engine.metadata['input']['dtype'] == 'uint8'
    expected = model.head.decode(run_model(model, images[:1])['heatmaps'])[0]
    np.testing.assert_allclose(found['keypoints'] * LAST_CENTRE, expected.keypoints, atol=0.05)


def test_metadata_and_report(exports):
    onnx = pytest.importorskip('onnx')
    path, _ = exports('vit', 'onnx')
    facts = json.loads(path.with_name('model.onnx.json').read_text())
    assert facts['input']['size_wh'] == [48, 64] and facts['input']['dynamic_batch']
    assert facts['parity']['passed'] and facts['parity']['unit'] == 'pixels of the input'
    stored = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert stored['config'] == 'name' and json.loads(stored['keypoint_names']) == ['a', 'b']
    assert json.loads(stored['input']) == facts['input']
    assert b'.py' not in path.read_bytes(), 'names files of the machine that made it'


def test_nothing_else_is_left(exports):
    path, _ = exports('vit', 'openvino')
    kept = {'model.xml', 'model.bin', 'model.xml.json'}
    others = {'model.onnx', 'model.onnx.json'}
    assert kept <= {file.name for file in path.parent.iterdir()} <= kept | others


def test_a_file_that_differs_is_not_left(pose_model, images, tmp_path, monkeypatch):
    model, path = pose_model('vit'), tmp_path / 'model.pt'
    export_model(model, images, path, 'torchscript')
    before = path.read_bytes()
    monkeypatch.setattr(export, 'run_model', lambda model, images: _shifted(model, images))
    with pytest.raises(ValueError, match='is not written: the export differs .* bound 0.05 mean'):
        export_model(model, images, path, 'torchscript')
    assert path.read_bytes() == before
    assert json.loads((tmp_path / 'model.pt.failed.json').read_text())['parity']['passed'] is False
    new = tmp_path / 'new.pt'
    with pytest.raises(ValueError):
        export_model(model, images, new, 'torchscript')
    assert not new.exists() and not list(tmp_path.glob('.*'))


def _shifted(model, images):
    return {name: value.roll(1, -1) for name, value in run_model(model, images).items()}


@pytest.mark.parametrize('format', ['onnx', pytest.param('openvino', marks=pytest.mark.slow)])
def test_int8(format, exports, images):
    if format == 'openvino':
        pytest.importorskip('nncf')
    expected = load_exported(exports('vit', format)[0])(images)['heatmaps']
    path, parity = exports('vit', format, 'int8', calibration=images, bound=LOOSE)
    found = load_exported(path)(images)['heatmaps']
    assert 0 < (found - expected).abs().max() < 0.3 * expected.abs().max()
    assert parity.differences['keypoints']['mean'] > 0


@pytest.mark.parametrize('format', ['onnx', 'openvino'])
def test_first_and_last_layer_of_int8_stay_in_float(format, exports, images):
    path, _ = exports('vit', format, 'int8', calibration=images, bound=LOOSE)
    if format == 'onnx':
        import onnx

        nodes = onnx.load(path).graph.node
        makers = {output: node.op_type for node in nodes for output in node.output}
        layers = [node for node in nodes if node.op_type in ('Conv', 'Gemm', 'MatMul')]
        rounded = [makers.get(node.input[0]) == 'DequantizeLinear' for node in layers]
    else:
        import openvino

        nodes = openvino.Core().read_model(path).get_ordered_ops()
        layers = [node for node in nodes if node.get_type_name() in ('Convolution', 'MatMul')]
        rounded = [node.input_value(0).get_node().get_type_name() == 'FakeQuantize' for node in layers]
    assert not rounded[0] and not rounded[-1] and sum(rounded[1:-1]) > 5


def test_mesh_without_a_body_inside(mesh_model, tmp_path):
    needs('onnx')
    import onnx

    model = mesh_model(shrink=2)
    images = torch.randn(2, 3, 64, 48)
    path = tmp_path / 'model.onnx'
    model.body()
    parity = export_model(model, images, path, inputs='rgb-float', bound=1e3)
    assert set(parity.differences) == {'vertices', 'joints'} and parity.unit == 'millimetres'
    engine = load_exported(path)
    assert engine.metadata['input']['size_wh'] == [96, 128] and engine.metadata['body_model'] == 'not inside'
    vertices = len(model.body().v_template)
    sizes = [size for tensor in onnx.load(path).graph.initializer for size in tensor.dims]
    assert sizes and vertices not in sizes
    kept = formats.float_nodes(graph_of(model), onnx.load(path))
    layers = [node for node in onnx.load(path).graph.node if node.op_type in ('Conv', 'Gemm', 'MatMul')]
    scopes = [[one.value for one in node.metadata_props if 'name_scopes' in one.key] for node in layers]
    # The first layer, what follows the encoder, and the last layer of each of its MLPs.
    last = [
        node.name
        for node, (text,) in zip(layers, scopes, strict=True)
        if "'backbone'" not in text or ".ffn.layers.1'" in text
    ]
    assert kept == [layers[0].name, *last] and 5 < len(kept) < len(layers) - 5


def test_mesh_with_vertices(mesh_model, tmp_path):
    needs('onnx')
    model = mesh_model()
    images = torch.randn(2, 3, 64, 48)
    path = tmp_path / 'model.onnx'
    parity = export_model(model, images, path, vertices=True)
    assert parity.differences['vertices']['mean'] < 0.01
    found = load_exported(path)(images)
    expected = model.predict_bodies(images)
    torch.testing.assert_close(found['vertices'], expected['vertices'], atol=1e-4, rtol=0)
    torch.testing.assert_close(found['joints_3d'], expected['keypoints_3d'], atol=1e-4, rtol=0)


def test_the_scan_is_one_node(exports):
    onnx = pytest.importorskip('onnx')
    nodes = onnx.load(exports('vmamba', 'onnx')[0]).graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count('Scan') == 2 and len(kinds) < 250
    assert all(not node.domain for node in nodes)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(format='tensorrt'), "one of onnx, torchscript, exported-program, openvino, got 'tensorrt'"),
        (dict(format='torchscript'), 'ends in .pt'),
        (dict(inputs='bgr'), "inputs must be one of .*, got 'bgr'"),
        (dict(precision='int8'), 'belong together'),
        (dict(vertices=True), 'vertices are for mesh models'),
    ],
)
def test_bad_options(options, message, pose_model, images, tmp_path):
    with pytest.raises(ValueError, match=message):
        export_model(pose_model('vit'), images, tmp_path / 'model.onnx', **options)
    assert not list(tmp_path.iterdir())


def test_no_keypoint_is_seen(pose_model, images, tmp_path):
    model = pose_model('vit')
    torch.nn.init.zeros_(model.head.final_layer.weight)
    torch.nn.init.zeros_(model.head.final_layer.bias)
    with pytest.raises(
        ValueError, match='sees no keypoint in the 4 crops.*--crops DIR .*--boxes .*mmhier test'
    ):
        export_model(model, images, tmp_path / 'model.pt', 'torchscript')


def test_missing_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match='a.onnx does not exist'):
        load_exported(tmp_path / 'a.onnx')
    with pytest.raises(ValueError, match='an exported file ends in'):
        load_exported(tmp_path / 'a.engine')


def test_the_engine_has_to_fit_the_file(exports):
    path, _ = exports('vit', 'onnx')
    with pytest.raises(ValueError, match="one of onnxruntime, openvino, got 'compile'"):
        load_exported(path, 'compile')


def test_an_onnx_file_is_run_by_openvino_too(exports, images):
    pytest.importorskip('openvino')
    path, _ = exports('vit', 'onnx')
    found, expected = (load_exported(path, name)(images)['heatmaps'] for name in ('openvino', 'onnxruntime'))
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('inputs', ['rgb-float', 'rgb-uint8'])
@pytest.mark.parametrize('format', ['torchscript', 'exported-program'])
def test_half_precision_of_raw_images(format, inputs, pose_model, images, tmp_path):
    model, path = pose_model('swin'), tmp_path / f'model{ENDINGS[format]}'
    export_model(model, images, path, format, inputs=inputs, precision='fp16', bound=LOOSE)
    raw = raw_images(model, images[:2], inputs)
    found = load_exported(path)(raw)['heatmaps']
    preprocessor = model.data_preprocessor
    expected = run_model(model, (raw - preprocessor.mean) / preprocessor.std)['heatmaps']
    torch.testing.assert_close(found, expected, rtol=0, atol=3e-2)
