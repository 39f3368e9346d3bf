"""Checkpoints: MMEngine's own load and resume; everything else is refused before it can run."""

import collections
import hashlib
import io
import os
import pickle
import sys
import tarfile
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModel
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from torch import nn

from mmhier.compat import checkpoint
from mmhier.compat.checkpoint import (
    TRUST_VARIABLE,
    UntrustedCheckpointError,
    load_checkpoint_file,
    load_url,
    trust_checkpoints,
)
from mmhier.network import DownloadError
from mmhier.testing.file_server import Served

TORCH = tuple(int(part) for part in torch.__version__.split('+')[0].split('.')[:2])


@pytest.fixture(autouse=True)
def _untrusting(monkeypatch):
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)


class Evil:
    """Creates a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


class EvilEval(Evil):
    def __reduce__(self):
        return eval, (f'open({str(self.path)!r}, "w").close()',)


class EvilState(Evil):
    def __reduce__(self):
        return collections.OrderedDict, (), None, None, iter([('a', Evil(self.path))])


class EvilGetattr(Evil):
    """Tries to climb from an allowed class to its module's globals."""

    def __reduce__(self):
        return getattr, (HistoryBuffer, '__init__')


class Harmless:
    """An object of a class nobody knows."""


def history() -> HistoryBuffer:
    buffer = HistoryBuffer()
    for value in range(4):
        buffer.update(float(value), 2)
    return buffer


def write_legacy_tar(evil: Evil, path: Path) -> None:
    """What torch before 0.4 wrote: a tar with three pickles."""
    with tarfile.open(path, 'w:', format=tarfile.PAX_FORMAT) as tar:
        for name, value in (('storages', evil), ('tensors', evil), ('pickle', evil)):
            data = pickle.dumps(value, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


WRITERS = {
    'zip': lambda value, path: torch.save(value, path),
    'legacy': lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    'protocol_4': lambda value, path: torch.save(value, path, pickle_protocol=4),
    'plain_pickle': lambda value, path: path.write_bytes(pickle.dumps(value)),
    'protocol_0': lambda value, path: path.write_bytes(pickle.dumps(value, protocol=0)),
    'tar': write_legacy_tar,
}


@pytest.mark.parametrize('writer', WRITERS)
@pytest.mark.parametrize('kind', [Evil, EvilEval, EvilState, EvilGetattr])
def test_nothing_of_a_malicious_file_is_executed(tmp_path, writer, kind):
    path, trap = tmp_path / 'evil.pth', tmp_path / 'trap'
    value = {'state_dict': {'weight': torch.ones(2)}, 'extra': kind(trap)} if writer != 'tar' else kind(trap)
    WRITERS[writer](value, path)
    readers = (
        load_checkpoint_file,
        CheckpointLoader.load_checkpoint,
        lambda name: load_checkpoint(nn.Linear(1, 1), name),
    )
    for read in readers:
        with pytest.raises(UntrustedCheckpointError) as error:
            read(str(path))
        assert str(path) in str(error.value)
        assert TRUST_VARIABLE in str(error.value) and '--trust-checkpoint' in str(error.value)
        if kind is Evil and writer != 'tar':
            assert f'{os.system.__module__}.system' in str(error.value)
        if kind is EvilEval and writer != 'tar':
            assert 'builtins.eval' in str(error.value)
    assert not trap.exists()


def test_the_trap_works_when_trusted(tmp_path, monkeypatch):
    path, trap = tmp_path / 'evil.pth', tmp_path / 'trap'
    torch.save({'extra': Evil(trap)}, path)
    monkeypatch.setenv(TRUST_VARIABLE, '0')
    with pytest.raises(UntrustedCheckpointError):
        load_checkpoint_file(path)
    assert not trap.exists()
    trust_checkpoints()
    load_checkpoint_file(path)
    assert trap.exists()


def test_an_unknown_class_is_named_and_can_be_trusted(tmp_path, monkeypatch):
    path = tmp_path / 'checkpoint.pth'
    torch.save({'weight': torch.ones(2), 'extra': Harmless()}, path)
    with pytest.raises(UntrustedCheckpointError, match='Harmless'):
        load_checkpoint_file(path)
    monkeypatch.setenv(TRUST_VARIABLE, '1')
    assert isinstance(load_checkpoint_file(path)['extra'], Harmless)


def test_torchscript_is_refused(tmp_path):
    path = tmp_path / 'script.pth'
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), str(path))
    with pytest.raises(UntrustedCheckpointError, match='TorchScript'):
        load_checkpoint_file(path)


def test_buffers_and_downloads_are_protected(tmp_path, monkeypatch, downloads):
    path, trap = tmp_path / 'evil.pth', tmp_path / 'trap'
    torch.save({'extra': Evil(trap)}, path)
    with pytest.raises(UntrustedCheckpointError):
        checkpoint.load_like_torch(io.BytesIO(path.read_bytes()), weights_only=False)

    asked = []

    def download(urls, target, *_):
        asked.append(urls)
        target.write_bytes(path.read_bytes())

    monkeypatch.setattr(checkpoint, 'download', download)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))  # set_dir() would stay
    names = ['https://example.com/a.pth', 'http://example.com/b.pth?x=1']
    names += ['mmcls://vgg11', 'openmmlab://detectron2/resnet50_caffe']
    for name in names:
        with pytest.raises(UntrustedCheckpointError):
            CheckpointLoader.load_checkpoint(name)
    with pytest.raises(UntrustedCheckpointError):
        load_url('https://example.com/a.pth')  # from the cache
    from mmengine.utils.dl_utils import load_url as mmengine_load_url

    with pytest.raises(UntrustedCheckpointError):
        mmengine_load_url('https://example.com/c.pth')
    assert len(asked) == 5 and not trap.exists()


@pytest.mark.parametrize(
    'name', ['vit-{}.pth', 'td-hm_ViTPose-small_8xb64-210e_coco-256x192-{}_20230314.pth']
)
@pytest.mark.parametrize('right', [True, False])
def test_the_hash_in_a_name_is_checked(tmp_path, server, weights, caplog, name, right):
    digest = hashlib.sha256(weights).hexdigest()
    name = name.format(digest[:8] if right else '0badc0de')
    server.files[f'/{name}'] = Served(weights)
    folder = tmp_path / 'hub'
    if right:
        assert 'state_dict' in load_url(server.url(f'/{name}'), str(folder), check_hash=True)
    else:
        with pytest.raises(DownloadError, match=f'{digest}, its name says 0badc0de'):
            load_url(server.url(f'/{name}'), str(folder), check_hash=True)
        assert list(folder.iterdir()) == []
        assert 'state_dict' in load_url(server.url(f'/{name}'), str(folder))
    assert ('its name says' in caplog.text) is not right
    assert [path.name for path in folder.iterdir()] == [name]


@pytest.fixture
def weights():
    """A checkpoint of some size."""
    buffer = io.BytesIO()
    torch.save({'state_dict': {'a': torch.arange(20_000.0)}}, buffer)
    return buffer.getvalue()


def test_a_later_try_goes_on_where_the_name_has_a_hash(tmp_path, server, weights):
    names = [f'a-{hashlib.sha256(weights).hexdigest()[:8]}.pth', 'b.pth']
    for name in names:
        served = server.files[f'/{name}'] = Served(weights, cut=10_000)
        with pytest.raises(DownloadError, match='broke off after .* fetch it elsewhere and put it at'):
            load_url(server.url(f'/{name}'), str(tmp_path))
        served.faults = 0
        server.log.clear()
        assert 'state_dict' in load_url(server.url(f'/{name}'), str(tmp_path))
        assert server.log == [(f'/{name}', 'bytes=30000-' if name == names[0] else None)]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


@pytest.mark.parametrize('check_hash', [True, False])
def test_a_part_of_another_file_is_not_continued(tmp_path, server, weights, caplog, check_hash):
    name = f'a-{hashlib.sha256(weights).hexdigest()[:8]}.pth'
    server.files[f'/{name}'] = Served(weights)
    (tmp_path / f'.{name}.part').mkdir()
    (tmp_path / f'.{name}.part' / name).write_bytes(bytes(1000))
    assert 'state_dict' in load_url(server.url(f'/{name}'), str(tmp_path), check_hash=check_hash)
    assert server.log == [(f'/{name}', 'bytes=1000-'), (f'/{name}', None)]
    assert 'its name says' not in caplog.text


def test_mirrors_and_being_offline(tmp_path, server, weights, monkeypatch):
    url = 'https://example.invalid/folder/a.pth'
    monkeypatch.setenv('MMHIER_OFFLINE', '1')
    with pytest.raises(DownloadError, match=f'{url} is not on .*, and MMHIER_OFFLINE forbids .*put it at'):
        load_url(url, str(tmp_path))
    monkeypatch.delenv('MMHIER_OFFLINE')
    monkeypatch.setenv('MMHIER_MIRROR', server.url('/mirror'))
    server.files['/mirror/example.invalid/folder/a.pth'] = Served(weights)
    assert 'state_dict' in load_url(url, str(tmp_path))
    monkeypatch.setenv('MMHIER_OFFLINE', '1')
    assert 'state_dict' in load_url(url, str(tmp_path))  # it is here


@pytest.mark.parametrize('name', ['swin_tiny_patch4_window7_224.pth', 'model-20230314.pth'])
def test_a_name_without_hash_cannot_be_checked(tmp_path, name):
    with pytest.raises(ValueError, match=f'{name} has no hash'):
        load_url(f'https://example.com/{name}', str(tmp_path), check_hash=True)


@pytest.mark.parametrize('legacy', [False, True])
def test_what_mmengine_writes_is_read(tmp_path, legacy):
    values = {
        'state_dict': collections.OrderedDict(weight=torch.arange(6.0).reshape(2, 3)),
        'history': {'loss': history(), 'empty': HistoryBuffer()},
        'scalars': [np.float64(2.5), np.float32(1.5), np.int64(-3), np.bool_(True)],
        'arrays': (np.arange(6).reshape(2, 3), np.asfortranarray(np.eye(3)), np.zeros((0, 4)), np.array(7.0)),
        'text': np.array(['ab', 'c']),
        'swapped': np.arange(3, dtype='>i4'),
        'dtype': np.dtype('float32'),
        'set': {1, 2},
        'bytes': b'\x00\xff',
    }
    path = tmp_path / 'checkpoint.pth'
    torch.save(values, path, _use_new_zipfile_serialization=not legacy)
    read = load_checkpoint_file(path)
    assert torch.equal(read['state_dict']['weight'], values['state_dict']['weight'])
    assert type(read['history']['loss']) is HistoryBuffer
    assert read['history']['loss'].mean() == history().mean() == 0.75
    assert len(read['history']['empty'].data[0]) == 0
    for old, new in zip(values['scalars'], read['scalars']):
        assert type(new) is type(old) and new == old
    for old, new in zip(
        (*values['arrays'], values['text'], values['swapped']),
        (*read['arrays'], read['text'], read['swapped']),
    ):
        assert type(new) is np.ndarray and new.dtype == old.dtype and new.shape == old.shape
        assert np.array_equal(new, old)
        new[...] = new  # writable
    assert read['dtype'] == np.float32 and read['set'] == {1, 2} and read['bytes'] == b'\x00\xff'


def test_settings_of_yacs_are_read_as_dictionaries(tmp_path, monkeypatch):
    """As the trainers of VMamba and Swin save them; the module need not be there when the file is read."""
    module = types.ModuleType('yacs.config')

    class CfgNode(dict):
        def __init__(self, content=()):
            super().__init__(content)
            self.__dict__['__immutable__'] = True

    CfgNode.__module__, CfgNode.__qualname__ = 'yacs.config', 'CfgNode'
    module.CfgNode = CfgNode
    path = tmp_path / 'snapshot.pth'
    with monkeypatch.context() as context:
        context.setitem(sys.modules, 'yacs', types.ModuleType('yacs'))
        context.setitem(sys.modules, 'yacs.config', module)
        torch.save(
            dict(model=dict(a=torch.ones(2)), config=CfgNode({'MODEL': CfgNode({'DIM': 96}), 'N': 1})), path
        )
    read = load_checkpoint_file(path)
    assert read['config'] == {'MODEL': {'DIM': 96}, 'N': 1} and torch.equal(read['model']['a'], torch.ones(2))
    assert isinstance(read['config']['MODEL'], dict) and type(read['config']).__module__ == 'collections'


def test_names_of_the_other_numpy_are_read():
    stream = pickle.dumps({'array': np.arange(3), 'scalar': np.float64(4)}, protocol=2)
    for old, new in (
        (b'numpy._core.multiarray', b'numpy.core.multiarray'),
        (b'numpy.core.multiarray', b'numpy._core.multiarray'),
    ):
        data = stream.replace(old, new)
        assert new in data
        with checkpoint._allowed_globals():
            read = checkpoint.to_plain(torch._weights_only_unpickler.load(io.BytesIO(data), encoding='utf-8'))
        assert read['array'].tolist() == [0, 1, 2] and read['scalar'] == 4


def test_what_the_user_has_allowed_stays_allowed(tmp_path):
    path = tmp_path / 'checkpoint.pth'
    torch.save(Harmless(), path)
    before = list(torch.serialization.get_safe_globals())
    torch.serialization.add_safe_globals([Harmless])
    try:
        assert isinstance(load_checkpoint_file(path), Harmless)
        assert set(torch.serialization.get_safe_globals()) == {*before, Harmless}
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)


@pytest.mark.parametrize(
    ('data', 'text'),
    [
        (lambda good: b'', 'empty'),
        (lambda good: good[: len(good) // 2], 'truncated or corrupt'),
        (lambda good: good[:60], 'truncated or corrupt'),
        (lambda good: b'<html>404 not found</html>', 'is not a checkpoint'),
        (lambda good: b'version https://git-lfs.github.com/spec/v1\n', 'is not a checkpoint'),
        (lambda good: b'\x80\x02}', 'truncated or corrupt'),
    ],
)
def test_bad_files_are_named(tmp_path, data, text):
    path = tmp_path / 'checkpoint.pth'
    torch.save({'weight': torch.ones(100)}, path)
    path.write_bytes(data(path.read_bytes()))
    with pytest.raises(ValueError, match=text) as error:
        load_checkpoint_file(path)
    assert str(path) in str(error.value)


def test_truncated_legacy_file_is_named(tmp_path):
    path = tmp_path / 'checkpoint.pth'
    torch.save({'weight': torch.ones(100)}, path, _use_new_zipfile_serialization=False)
    assert load_checkpoint_file(path)['weight'].sum() == 100
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match='checkpoint.pth'):
        load_checkpoint_file(path)


def test_what_cannot_be_read_for_another_reason_says_so(tmp_path):
    path = tmp_path / 'checkpoint.pth'
    torch.save({'weight': torch.ones(2)}, path)
    with pytest.raises(ValueError, match=r'checkpoint\.pth cannot be read: .*nodevice') as error:
        load_checkpoint_file(path, map_location='nodevice')
    assert not isinstance(error.value, UntrustedCheckpointError)
    data = pickle.dumps(np.arange(3), protocol=2).replace(b'\x00' * 7, b'\x00' * 6)  # bytes are missing
    path.write_bytes(data)
    with pytest.raises(ValueError, match='checkpoint.pth'):
        load_checkpoint_file(path)


@pytest.mark.parametrize(
    'content',
    [
        None,
        [1],
        torch.ones(2),
        dict(state_dict=None),
        dict(state_dict=[1]),
        dict(state_dict={1: torch.ones(2)}),
        dict(state_dict={'a': 'text'}),
    ],
)
def test_what_holds_no_weights_is_named(tmp_path, content):
    path = str(tmp_path / 'a.pth')
    torch.save(content, path)
    with pytest.raises(ValueError, match=f'{path} holds .* instead of weights by name'):
        CheckpointLoader.load_checkpoint(path)


def test_missing_file():
    with pytest.raises(FileNotFoundError, match='nowhere.pth'):
        load_checkpoint_file('nowhere.pth')


def test_safetensors(tmp_path):
    safetensors = pytest.importorskip('safetensors.torch')
    path = tmp_path / 'weights.safetensors'
    safetensors.save_file({'weight': torch.ones(2)}, path)
    assert load_checkpoint_file(path)['weight'].tolist() == [1, 1]
    path.write_bytes(path.read_bytes()[:9])
    with pytest.raises(ValueError, match='truncated or corrupt'):
        load_checkpoint_file(path)


class Toy(BaseModel):
    """A linear regression with dropout, so that the random state matters."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 1)
        self.dropout = nn.Dropout(0.2)

    def forward(self, x, y, mode='tensor'):
        output = self.linear(self.dropout(x))
        return {'loss': ((output - y) ** 2).mean()} if mode == 'loss' else output


def make_runner(work_dir: Path, epochs: int, **options) -> Runner:
    """A runner over 8 fixed samples, with momentum and a schedule, so that there is a state to resume."""
    generator = torch.Generator().manual_seed(1)
    data = [(torch.randn(4, generator=generator), torch.randn(1, generator=generator)) for _ in range(8)]
    torch.manual_seed(0)
    return Runner(
        model=Toy(),
        work_dir=str(work_dir),
        train_dataloader=dict(
            dataset=data,
            sampler=DefaultSampler(data, shuffle=False),
            batch_size=4,
            num_workers=0,
            collate_fn=dict(type='default_collate'),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=0.1)),
        param_scheduler=dict(type='MultiStepLR', milestones=[1, 3], gamma=0.5),
        default_hooks=dict(
            checkpoint=dict(type='CheckpointHook', interval=1), logger=dict(type='LoggerHook', interval=1)
        ),
        randomness=dict(seed=3),
        log_level='WARNING',
        default_scope='mmpose',
        experiment_name=f'toy_{hashlib.md5(str(work_dir).encode()).hexdigest()}_{options.get("resume")}',
        **options,
    )


class Interrupted(Exception):
    pass


class SeedEpochs(Hook):
    """Seeds every epoch by its number, notes the numbers, and stops the run at one of them."""

    def __init__(self, stop: int | None = None) -> None:
        self.stop = stop
        self.seen = []

    def before_train_epoch(self, runner) -> None:
        if runner.epoch == self.stop:
            raise Interrupted
        torch.manual_seed(100 + runner.epoch)
        self.seen.append(runner.epoch)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path):
    hooks = [SeedEpochs(), SeedEpochs(stop=2), SeedEpochs()]
    whole = make_runner(tmp_path / 'whole', epochs=4, custom_hooks=hooks[:1]).train().state_dict()
    with pytest.raises(Interrupted):
        make_runner(tmp_path / 'parts', epochs=4, custom_hooks=hooks[1:2]).train()
    runner = make_runner(tmp_path / 'parts', epochs=4, custom_hooks=hooks[2:], resume=True)
    resumed = runner.train().state_dict()

    assert [hook.seen for hook in hooks] == [[0, 1, 2, 3], [0, 1], [2, 3]]
    assert len(whole) == 2
    for name in whole:
        assert torch.equal(whole[name], resumed[name]), name
    losses = runner.message_hub.get_scalar('train/loss')
    assert isinstance(losses, HistoryBuffer) and len(losses.data[0]) == 8  # the first four are from the file


def test_load_from_takes_the_weights_only(tmp_path):
    first = make_runner(tmp_path / 'first', epochs=1).train()
    runner = make_runner(tmp_path / 'second', epochs=1, load_from=str(tmp_path / 'first' / 'epoch_1.pth'))
    runner.load_or_resume()
    assert torch.equal(runner.model.linear.weight, first.linear.weight)
    assert runner.epoch == 0
