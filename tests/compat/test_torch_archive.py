"""What changed in a file of weights since it was written is found, or does not matter."""

import io
import logging
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from mmhier.compat.checkpoint import load_checkpoint_file, load_like_torch
from mmhier.compat.torch_archive import TorchArchive
from mmhier.convert.lightning import read_lightning_checkpoint
from mmhier.deploy.program_files import open_script
from mmhier.safe_pickle import MAX_NESTING, named_globals

FLIPS = 150


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """A file as MMEngine and Lightning write it, and what it holds."""
    torch.manual_seed(0)
    weights = OrderedDict((f'layer{number}.weight', torch.randn(9, 20)) for number in range(4))
    content = dict(state_dict=weights, epoch=3, meta=dict(seed=1, classes=['a', 'b']))
    path = tmp_path_factory.mktemp('whole') / 'whole.pth'
    torch.save(content, path)
    return path.read_bytes(), content


def same(found, expected):
    if isinstance(expected, torch.Tensor):
        return isinstance(found, torch.Tensor) and torch.equal(found, expected)
    if isinstance(expected, dict):
        return list(found) == list(expected) and all(same(found[key], expected[key]) for key in expected)
    return found == expected


@pytest.mark.parametrize('read', [load_checkpoint_file, read_lightning_checkpoint])
def test_no_flipped_bit_is_read_without_a_word(read, checkpoint, tmp_path):
    whole, expected = checkpoint
    rng = np.random.default_rng(0)
    path, refused = tmp_path / 'flipped.pth', 0
    for place in rng.choice(len(whole), FLIPS, replace=False):
        content = bytearray(whole)
        content[place] ^= 1 << rng.integers(8)
        path.write_bytes(content)
        try:
            assert same(read(path), expected), place
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > FLIPS / 4  # the others are in the space between the records


def test_every_record_of_weights_is_compared(checkpoint, tmp_path):
    whole, _ = checkpoint
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        records = archive.infolist()
    assert len(records) > 8
    for info in records:
        content = bytearray(whole)
        size = int.from_bytes(whole[info.header_offset + 28 : info.header_offset + 30], 'little')
        content[info.header_offset + 30 + len(info.filename) + size + info.file_size - 1] ^= 1
        with pytest.raises(ValueError, match='differs from its checksum|damaged'):
            TorchArchive(io.BytesIO(content), 'a.pth')
        with pytest.raises(ValueError, match='differs from its checksum|damaged|corrupt'):
            load_like_torch(io.BytesIO(content))


def test_programs_are_compared(tmp_path):
    path = tmp_path / 'a.pt'
    torch.manual_seed(0)
    torch.jit.trace(nn.Linear(30, 30), torch.randn(1, 30)).save(path)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = max(archive.infolist(), key=lambda info: info.file_size)
    content[info.header_offset + 2000] ^= 1
    open_script(path)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r'a\.pt is damaged: data/0 differs from its checksum'):
        open_script(path)


@pytest.mark.skipif(
    not hasattr(torch.serialization, 'set_crc32_options'), reason='this torch always writes checksums'
)
def test_files_without_checksums_are_read_and_it_is_said(tmp_path, caplog):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(dict(a=torch.ones(3)), tmp_path / 'a.pth')
    finally:
        torch.serialization.set_crc32_options(True)
    with caplog.at_level(logging.WARNING, 'mmhier'):
        assert load_checkpoint_file(tmp_path / 'a.pth')['a'].tolist() == [1, 1, 1]
    assert f'{tmp_path / "a.pth"} was written without checksums' in caplog.text


@pytest.mark.parametrize('legacy', [False, True])
def test_nan_is_refused_wherever_it_would_be_used(tmp_path, legacy):
    path = tmp_path / 'a.pth'
    wrong = torch.tensor([1.0, torch.nan])
    for content, name in (
        (dict(a=wrong), 'a'),
        (dict(state_dict=dict(a=torch.ones(2), b=wrong.half())), 'state_dict.b'),
        (dict(state_dict={}, optimizer=dict(state={3: dict(exp_avg=wrong)})), 'optimizer.state.3.exp_avg'),
    ):
        torch.save(content, path, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(ValueError, match=rf'a.pth is corrupt, or of a failed training: {name} holds NaN'):
            load_checkpoint_file(path)
    content = dict(state_dict=dict(a=torch.tensor([torch.inf])), message_hub=dict(loss=wrong))
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    assert load_checkpoint_file(path)['state_dict']['a'] == torch.inf


def test_safetensors_with_nan_is_refused(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    path = tmp_path / 'a.safetensors'
    save_file(dict(a=torch.tensor([1.0, torch.inf]), n=torch.tensor([3])), path)
    assert load_checkpoint_file(path)['a'][1] == torch.inf
    save_file(dict(a=torch.tensor([1.0, torch.nan])), path)
    with pytest.raises(ValueError, match=r'a\.safetensors is corrupt, or of a failed training: a holds NaN'):
        load_checkpoint_file(path)


WRAPS = dict(
    tuple=lambda value: (value,), list=lambda value: [value], dict=lambda value: {'a': value}
)  # fmt: skip


def nested(wrap, depth):
    many = [dict(lr=0.1, betas=(0.9, 0.99), name=f'group {number}') for number in range(3 * MAX_NESTING)]
    value = dict(many=many, again=many)
    for _ in range(depth):
        value = wrap(value)
    return value


@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize('kind', ['tuple', 'list', 'dict'])
def test_nesting_is_bounded(kind, protocol):
    assert named_globals(pickle.dumps(nested(WRAPS[kind], MAX_NESTING - 5), protocol)) == set()
    with pytest.raises(ValueError, match=f'more than {MAX_NESTING} deep'):
        named_globals(pickle.dumps(nested(WRAPS[kind], MAX_NESTING + 1), protocol))


@pytest.mark.parametrize('is_zip', [True, False])
def test_nested_checkpoints(is_zip, tmp_path):
    path = tmp_path / 'a.pth'
    for kind in ('tuple', 'list', 'dict'):
        value = nested(WRAPS[kind], MAX_NESTING // 2)
        torch.save(value, path, _use_new_zipfile_serialization=is_zip)
        assert load_checkpoint_file(path) == value
        torch.save(nested(WRAPS[kind], MAX_NESTING), path, _use_new_zipfile_serialization=is_zip)
        with pytest.raises(ValueError, match=rf'a\.pth is .*more than {MAX_NESTING} deep'):
            load_checkpoint_file(path)
