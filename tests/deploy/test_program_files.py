"""Exported files are programs: what is in one is found before it is loaded, and nothing of it runs."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from mmhier.compat.checkpoint import TRUST_VARIABLE, UntrustedCheckpointError
from mmhier.deploy import load_exported
from mmhier.onnx_file import check_onnx, external_files


class Network(nn.Module):
    """Sizes are computed from the batch, as in every exported model."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, images):
        with torch.autocast('cpu', enabled=False):  # a graph in the graph
            features = self.linear(images.flatten(0, 1))
        return (nn.functional.gelu(features),)


class Evil:
    """Creates a file when unpickled."""

    def __init__(self, trap):
        self.trap = trap

    def __reduce__(self):
        return os.mkdir, (str(self.trap),)


@pytest.fixture(autouse=True)
def _untrusting(monkeypatch):
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)


@pytest.fixture(scope='module')
def programs(tmp_path_factory):
    """The same network as .pt2 and .pt, each with its .json."""
    folder = tmp_path_factory.mktemp('programs')
    torch.manual_seed(0)
    network, images = Network().eval(), torch.randn(2, 5, 4)
    shapes = ({0: torch.export.Dim('batch')},)
    torch.export.save(torch.export.export(network, (images,), dynamic_shapes=shapes), folder / 'model.pt2')
    torch.jit.trace(network, (images,)).save(folder / 'model.pt')
    for ending in ('pt2', 'pt'):
        (folder / f'model.{ending}.json').write_text('{"outputs": ["features"]}')
    return folder, network, images


@pytest.fixture
def rewrite(programs, tmp_path):
    """Write a program again with changed or added records; give its path."""

    def make(ending, change):
        source, target = programs[0] / f'model.{ending}', tmp_path / f'changed.{ending}'
        with zipfile.ZipFile(source) as archive:
            records = {name.partition('/')[2]: archive.read(name) for name in archive.namelist()}
        change(records)
        writer = torch._C.PyTorchFileWriter(str(target))
        for name, content in records.items():
            if name not in ('.data/version', '.data/serialization_id', 'version'):
                writer.write_record(name, content, len(content))
        writer.write_end_of_file()
        (tmp_path / f'changed.{ending}.json').write_text('{"outputs": ["features"]}')
        return target

    return make


def graph(change):
    """A change of the graph of a .pt2 file."""

    def of(records):
        document = json.loads(records['models/model.json'])
        change(document)
        records['models/model.json'] = json.dumps(document).encode()

    return of


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def set_first(document, key, value):
    """Replace the first value at a key, wherever it is."""
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for name, item in items:
        if name == key:
            document[name] = value
            return True
        if isinstance(item, dict | list) and set_first(item, key, value):
            return True
    return False


def weights_as_pickles(records, trap):
    config = json.loads(records['data/weights/model_weights_config.json'])
    assert set_first(config, 'use_pickle', True)
    records['data/weights/model_weights_config.json'] = json.dumps(config).encode()
    records['data/weights/weight_0'] = saved(Evil(trap))


def an_opaque_constant(records, trap):
    constant = dict(path_name='opaque_obj_0', is_param=False, use_pickle=True, tensor_meta=None)
    records['data/constants/model_constants_config.json'] = json.dumps(dict(config=dict(a=constant))).encode()
    records['data/constants/opaque_obj_0'] = pickle.dumps(Evil(trap))


def changed(key, value):
    def of(records, trap):
        text = value.replace('TRAP', str(trap)) if isinstance(value, str) else value
        graph(lambda document: set_first(document, key, text) or pytest.fail(f'no {key}'))(records)

    return of


def replaced(content, target):
    assert content.count(b'higher_order.wrap_with_autocast') == content.count(target) == 1
    return content.replace(target, b'torch.serialization.os.mkdir')


MKDIR = "__import__('os').mkdir('TRAP')"
ATTACKS = dict(
    sample_inputs=lambda records, trap: records.update({'data/sample_inputs/model.pt': saved(Evil(trap))}),
    weights=weights_as_pickles,
    legacy_weights=lambda records, trap: records.update({'data/weights/model.pt': saved({'a': Evil(trap)})}),
    constant=an_opaque_constant,
    size=changed('expr_str', MKDIR),
    range=changed('range_constraints', {"__import__('os').mkdir('TRAP')": dict(min_val=0, max_val=None)}),
    function=changed('target', 'torch.serialization.os.mkdir'),
    inner_function=lambda records, trap: records.update(
        {'models/model.json': replaced(records['models/model.json'], b'torch.ops.aten.linear.default')}
    ),
    file_operator=changed('target', 'torch.ops.aten.from_file.default'),
    custom_operator=changed('target', 'torch.ops.mine.run.default'),
    extension=changed('target', '#mine:run'),
    guard=changed('guards_code', [MKDIR]),
    arguments=changed('in_spec', '[1, {"type": "os.system", "context": "null", "children_spec": []}]'),
    enum=changed('out_spec', '[1, {"type": "builtins.dict", "context": "[{\\"__enum__\\": 1}]"}]'),
    library=lambda records, trap: records.update({'data/aotinductor/model/a.so': b'\x7fELF'}),
    name=changed('name', 'a\nimport os'),
)


@pytest.mark.parametrize('ending', ['pt2', 'pt'])
def test_what_is_exported_needs_no_trust(ending, programs):
    folder, network, images = programs
    for batch in (images, images[:1]) if ending == 'pt2' else (images,):
        found = load_exported(folder / f'model.{ending}')(batch)
        torch.testing.assert_close(found['features'], network(batch)[0])


@pytest.mark.parametrize('attack', ATTACKS)
def test_nothing_in_a_program_is_executed(attack, rewrite, tmp_path):
    trap = tmp_path / 'trap'
    path = rewrite('pt2', lambda records: ATTACKS[attack](records, trap))
    with pytest.raises(UntrustedCheckpointError, match='nothing in it has been executed') as error:
        load_exported(path)
    assert str(path) in str(error.value) and '--trust-checkpoint' in str(error.value)
    assert not trap.exists()


@pytest.mark.parametrize('attack', ['sample_inputs', 'size'])
def test_what_is_trusted_is_executed(attack, rewrite, tmp_path, monkeypatch):
    trap = tmp_path / 'trap'
    path = rewrite('pt2', lambda records: ATTACKS[attack](records, trap))
    monkeypatch.setenv(TRUST_VARIABLE, '1')
    with pytest.raises(ValueError, match='changed.pt2 cannot be opened'):
        load_exported(path)
    assert trap.exists()


def scripted(text):
    def of(records):
        (name,) = (name for name in records if name.startswith('code/') and records[name].count(b'gelu'))
        records[name] = records[name].replace(b'torch.gelu(', f'{text}('.encode())

    return of


@pytest.mark.parametrize(
    'call',
    [
        'torch.save',
        'torch . save',
        'ops.mine.run',
        'ops . mine.run',
        'torch.from_file',
        'torch.classes.A',
        'ops',
        'torch.\\\nsave',
        '(torch.# a comment\n save)',
        '(torch.save# a comment\n )',
        'torch. classes # a comment\n .A',
        'save = torch.save\n  save',
        'getattr(torch, "save")',
        'getattr(torch, "sa" "ve")',
        'getattr(torch, "s\\141ve")',
        'getattr (torch, "gelu")',
        'ops.prim.rpc_sync',
    ],
)
def test_script_may_call_operators_of_torch_only(call, rewrite):
    with pytest.raises(UntrustedCheckpointError, match='it uses .*nothing in it|nothing in it.*it uses '):
        load_exported(rewrite('pt', scripted(call)))


def test_pickles_of_a_script(rewrite, tmp_path):
    trap = tmp_path / 'trap'
    path = rewrite('pt', lambda records: records.update({'data.pkl': pickle.dumps(Evil(trap), protocol=2)}))
    with pytest.raises(UntrustedCheckpointError, match='data.pkl asks for posix.mkdir'):
        load_exported(path)
    assert not trap.exists()


@pytest.mark.parametrize('ending', ['pt2', 'pt'])
def test_damaged_programs(ending, programs, tmp_path):
    content = (programs[0] / f'model.{ending}').read_bytes()
    path = tmp_path / f'model.{ending}'
    (tmp_path / f'model.{ending}.json').write_text('{"outputs": ["features"]}')
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = max(archive.infolist(), key=lambda info: info.file_size)
    flipped = bytearray(content)
    flipped[info.header_offset + 64 + len(info.filename) + 64] ^= 1
    for damaged in (b'', content[:-100], content[:999], rng.bytes(2000), b'PK\x03\x04', bytes(flipped)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=str(path)):
            load_exported(path)


@pytest.mark.parametrize('text', ['', '[]', '{"outputs": 3}', '{"outputs": [1]}', '[' * 100000, '{'])
def test_damaged_descriptions(text, programs, tmp_path):
    (tmp_path / 'a.pt').write_bytes((programs[0] / 'model.pt').read_bytes())
    (tmp_path / 'a.pt.json').write_text(text)
    with pytest.raises(ValueError, match=r'a\.pt\.json'):
        load_exported(tmp_path / 'a.pt')


def field(number, content):
    """A field of a protobuf message."""
    size, length = len(content), b''
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    tag = number << 3 | 2
    return bytes([tag] if tag < 128 else [tag & 127 | 128, tag >> 7]) + length + bytes([size]) + content


def entry(location, key=b'location'):
    return field(13, field(2, location) + field(1, key))  # the value first: any order is right


def test_weights_outside_of_the_folder_of_an_onnx_file(tmp_path):
    folder = tmp_path / 'model'
    folder.mkdir()
    (tmp_path / 'secret.bin').write_bytes(bytes(16))
    (folder / 'weights.bin').write_bytes(bytes(16))
    (folder / 'link.bin').symlink_to(tmp_path / 'secret.bin')
    os.mkfifo(folder / 'pipe.bin')
    path = folder / 'a.onnx'
    bad = [b'../secret.bin', str(tmp_path / 'secret.bin').encode(), b'link.bin', b'a/../../secret.bin']
    for place in (
        lambda tensor: field(7, field(5, tensor)),
        lambda tensor: field(7, field(1, field(5, field(5, tensor)))),
        lambda tensor: field(7, field(1, field(5, field(6, field(5, tensor))))),
        lambda tensor: field(25, field(7, field(5, field(22, field(1, tensor))))),
    ):
        path.write_bytes(b'\x08\x09' + place(entry(b'weights.bin')))
        assert external_files(path) == ['weights.bin']
        check_onnx(path)
        for location in bad:
            path.write_bytes(place(entry(b'16', b'length') + entry(location)))
            with pytest.raises(ValueError, match='outside of its folder, and is refused'):
                check_onnx(path)
        path.write_bytes(place(entry(b'pipe.bin')))
        with pytest.raises(ValueError, match='pipe.bin is a pipe'):
            check_onnx(path)
        path.write_bytes(place(entry(b'missing.bin')))
        with pytest.raises(FileNotFoundError, match=r'missing\.bin does not exist'):
            check_onnx(path)


def test_references_are_those_that_onnx_itself_finds(tmp_path):
    onnx = pytest.importorskip('onnx')
    from onnx import TensorProto, helper

    weights = helper.make_tensor(
        'w', TensorProto.FLOAT, [4], np.arange(4, dtype=np.float32).tobytes(), raw=True
    )
    shape = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in 'xy']
    constant = helper.make_node('Constant', [], ['c'], value=weights)
    body = helper.make_graph(
        [helper.make_node('Add', ['x', 'w'], ['y'])], 'g', shape[:1], shape[1:], [weights]
    )
    body.node.insert(0, constant)
    path = tmp_path / 'a.onnx'
    onnx.save(helper.make_model(body), path)
    check_onnx(path)
    assert external_files(path) == []
    onnx.save(
        helper.make_model(body), path, save_as_external_data=True, location='w.bin', size_threshold=0,
        convert_attribute=True,
    )  # fmt: skip
    assert external_files(path) == ['w.bin']
    check_onnx(path)
    content = path.read_bytes()
    for cut in range(1, len(content), 7):
        path.write_bytes(content[:cut])
        try:
            external_files(path)
        except ValueError as error:
            assert 'not an ONNX file, or a damaged one' in str(error)
