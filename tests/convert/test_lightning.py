"""Lightning checkpoints: tensors come out, nothing runs."""

import collections
import pickle
import zipfile

import numpy as np
import pytest
import torch

from mmhier.compat.checkpoint import UntrustedCheckpointError, load_checkpoint_file
from mmhier.convert.lightning import Inert, read_lightning_checkpoint


class Config(dict):
    """Like the configurations of yacs and OmegaConf: a mapping with a state, made by a class of its own."""

    def __init__(self, **entries):
        super().__init__(entries)
        self.frozen = True


class Slotted:
    """With what else pickles can do: keyword arguments, slots, items to append."""

    __slots__ = ('value',)

    def __new__(cls, *, value):
        made = super().__new__(cls)
        made.value = value
        return made

    def __getnewargs_ex__(self):
        return (), dict(value=self.value)


class Listed(list):
    pass


def checkpoint():
    shared = torch.randn(4, 3)
    return {
        'epoch': 35,
        'pytorch-lightning_version': '1.8.1',
        'state_dict': collections.OrderedDict(
            a=shared[1:, ::2], b=shared.t(), half=torch.randn(2).half(), flag=torch.tensor(False)
        ),
        'hyper_parameters': {'cfg': Config(a=Config(b=1)), 'slots': Slotted(value=2), 'list': Listed([1, 2])},
        'callbacks': {'ModelCheckpoint': {'best': np.float64(0.5), 'seen': {1, 2}, 'path': b'x'}},
        'counts': collections.defaultdict(list, a=[1]),
        'parameter': torch.nn.Parameter(torch.ones(2)),
    }


def test_tensors_and_plain_values(tmp_path):
    saved, path = checkpoint(), tmp_path / 'last.ckpt'
    torch.save(saved, path)
    with pytest.raises(UntrustedCheckpointError):
        load_checkpoint_file(path)
    found = read_lightning_checkpoint(path)
    assert found['epoch'] == 35 and found['pytorch-lightning_version'] == '1.8.1'
    assert list(found['state_dict']) == ['a', 'b', 'half', 'flag']
    for key, value in saved['state_dict'].items():
        other = found['state_dict'][key]
        assert torch.equal(other, value) and other.dtype == value.dtype and other.stride() == value.stride()
    assert torch.equal(found['parameter'], saved['parameter'])
    for value in found['hyper_parameters'].values():
        assert type(value) is Inert


def bomb(*call):
    class Bomb:
        def __reduce__(self):
            return call

    return Bomb()


def test_nothing_is_executed(tmp_path):
    """Functions by name, by attribute, and through the few names that are allowed."""
    target = str(tmp_path / 'executed')
    hooks = collections.OrderedDict(hook=bomb(open, (target, 'w')))
    bombs = [
        bomb(open, (target, 'w')),
        bomb(eval, (f'open({target!r}, "w")',)),
        bomb(__import__('os').system, (f'touch {target}',)),
        bomb(getattr, (bomb(__import__, ('os',)), 'system')),
        bomb(torch._utils._rebuild_parameter, (torch.ones(1), False, hooks)),
        bomb(torch.load, (target,)),
    ]
    torch.save(dict(state_dict=dict(a=torch.ones(1)), bombs=bombs), tmp_path / 'bomb.ckpt')
    found = read_lightning_checkpoint(tmp_path / 'bomb.ckpt')
    assert torch.equal(found['state_dict']['a'], torch.ones(1)) and len(found['bombs']) == 6
    assert not (tmp_path / 'executed').exists()


def test_forged_shapes_are_refused(tmp_path):
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.ones(2).untyped_storage(), dtype=torch.float32, _internal=True
    )
    forged = bomb(
        torch._utils._rebuild_tensor_v2, (storage, 0, (1 << 20,), (1,), False, collections.OrderedDict())
    )
    torch.save(dict(state_dict=dict(a=forged)), tmp_path / 'forged.ckpt')
    with pytest.raises(ValueError, match=r'forged\.ckpt cannot be read'):
        read_lightning_checkpoint(tmp_path / 'forged.ckpt')


def test_bad_files_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'absent\.ckpt'):
        read_lightning_checkpoint(tmp_path / 'absent.ckpt')
    torch.save(checkpoint(), tmp_path / 'whole.ckpt')
    (tmp_path / 'torn.ckpt').write_bytes((tmp_path / 'whole.ckpt').read_bytes()[:3000])
    (tmp_path / 'page.ckpt').write_bytes(b'<html>Not found</html>')
    (tmp_path / 'empty.ckpt').write_bytes(b'')
    (tmp_path / 'plain.ckpt').write_bytes(pickle.dumps(dict(state_dict={})))
    with zipfile.ZipFile(tmp_path / 'other.ckpt', 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(tmp_path / 'program.ckpt'))
    torch.save([1, 2], tmp_path / 'list.ckpt')
    for name in ('torn', 'page', 'empty', 'plain', 'other', 'program', 'list'):
        with pytest.raises(ValueError, match=rf'{name}\.ckpt'):
            read_lightning_checkpoint(tmp_path / f'{name}.ckpt')
