"""The script that checks released weights: against a local server, with files of every kind it may meet."""

import hashlib
import importlib.util
import io
import json
import zipfile

import cv2
import numpy as np
import pytest
import torch

from mmhier import download
from mmhier.network import OFFLINE_VARIABLES
from mmhier.testing.file_server import FileServer, Served
from mmhier.user_cache import HOME_VARIABLE
from mmhier.zoo import cache
from mmhier.zoo.registry import SHIPPED, read_registry

SCRIPT = 'tools/zoo/check.py'
ARCH = dict(embed_dims=8, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
LICENCE = dict(code='MIT', weights='MIT', data='none')
BASE = dict(kind='init', file='net.pth', format='pth', licence=LICENCE, non_commercial='no', checked='never')
BASE |= dict(page='https://example.org')


@pytest.fixture
def module(repo_root):
    spec = importlib.util.spec_from_file_location('zoo_check', repo_root / SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def check(module, tmp_path, monkeypatch, capsys):
    """The script's ``main`` with a registry of given entries: exit status, output, registry afterwards."""
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path / 'home'))
    for name in (*OFFLINE_VARIABLES, cache.FOLDERS_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name in (download.MIRROR_VARIABLE, 'HF_ENDPOINT'):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, 'BACK_OFF_S', 0.0)

    def run(entries, *options):
        path = tmp_path / f'{len(list(tmp_path.iterdir()))}.json'
        path.write_text(json.dumps({name: BASE | entry for name, entry in entries.items()}))
        status = module.main(['--registry', str(path), *options])
        return status, capsys.readouterr().out, json.loads(path.read_text())

    return run


@pytest.fixture(scope='module')
def swin() -> bytes:
    """An encoder as its authors release it, with random weights."""
    from mmpose.registry import MODELS

    from mmhier.testing.released_weights import swin_of_microsoft

    backbone = MODELS.build(dict(type='mmpose.TruncatedSwin', arch=ARCH))
    file = io.BytesIO()
    torch.save(dict(model=swin_of_microsoft(backbone.state_dict())), file)
    return file.getvalue()


@pytest.fixture
def server(swin):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, 'w') as file:
        file.writestr('a/net.pth', swin)
    with FileServer({'/a.pth': Served(swin), '/b.zip': Served(archive.getvalue())}) as server:
        yield server


def test_measured_loaded_and_written(check, server, swin, tmp_path):
    sources = [dict(url=server.url('/a.pth')), dict(url=server.url('/b.zip'), member='**/net.pth')]
    entry = dict(sources=sources, bytes_about=len(swin), uncertain='no SHA-256 is known')
    status, out, after = check({'net': entry}, '--write')
    sha256 = hashlib.sha256(swin).hexdigest()
    assert status == 0 and f'SHA-256 {sha256}, from 2 of 2 addresses' in out and 'an encoder of' in out
    found = after['net']['checked']
    assert (
        (found['bytes'], found['sha256'])
        == (len(swin), sha256)
        == (after['net']['bytes'], after['net']['sha256'])
    )
    assert not after['net'].keys() & {'bytes_about', 'uncertain'} and found['date'].count('-') == 2
    assert not (tmp_path / 'home').exists()  # the cache of the user is left alone


def test_without_write_nothing_is_written(check, server):
    _, _, after = check({'net': dict(sources=[dict(url=server.url('/a.pth'))])})
    assert after['net']['checked'] == 'never'


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (dict(sha256='0' * 64), 'instead of 0000'),
        (dict(bytes=5), 'instead of 5'),
        (dict(kind='pose', configs=['vitpose_s_coco']), 'ViT'),
        (dict(kind='detector', family='yolox'), 'not an ONNX file'),
    ],
)
def test_what_is_wrong_is_told_and_not_written(check, server, change, text):
    entry = dict(sources=[dict(url=server.url('/a.pth'))]) | change
    status, out, after = check({'net': entry}, '--write')
    assert status == 1 and text in out and after['net']['checked'] == 'never'


def test_addresses_with_different_files(check, server):
    server.files['/c.pth'] = Served(b'another file')
    entry = dict(sources=[dict(url=server.url(path)) for path in ('/a.pth', '/c.pth')])
    status, out, after = check({'net': entry}, '--write')
    assert status == 1 and 'the addresses give different files' in out and after['net']['checked'] == 'never'


def test_one_dead_address_of_two(check, server):
    entry = dict(sources=[dict(url=server.url('/dead')), dict(url=server.url('/a.pth'))])
    status, out, _ = check({'net': entry})
    assert status == 1 and '/dead: the server answers 404' in out and 'from 1 of 2 addresses' in out


def test_what_no_program_can_fetch_fails_only_if_it_is_named(check):
    status, out, after = check({'net': dict(sources=[])}, '--write')
    assert status == 0 and 'left out, no program can fetch it' in out and after['net']['checked'] == 'never'
    status, out, _ = check({'net': dict(sources=[])}, 'net')
    assert status == 1 and 'there is no address' in out


def test_licences_are_not_accepted_by_the_way(check, server):
    entry = dict(sources=[dict(url=server.url('/a.pth'))], non_commercial='yes')
    status, out, _ = check({'net': entry})
    assert status == 0 and 'left out' in out and not server.log
    status, out, _ = check({'net': entry}, '--accept-licence')
    assert status == 0 and 'from 1 of 1 addresses' in out


def test_one_or_all(check, server):
    entries = {name: dict(sources=[dict(url=server.url('/a.pth'))]) for name in ('a', 'b')}
    assert check(entries, 'b')[1].startswith('b: ')
    assert len(check(entries)[1].splitlines()) == 2
    with pytest.raises(SystemExit):
        check(entries, 'c')


@pytest.mark.parametrize('name', [download.MIRROR_VARIABLE, 'HF_ENDPOINT'])
def test_another_host_is_not_what_is_checked(check, server, monkeypatch, capsys, name):
    monkeypatch.setenv(name, 'http://127.0.0.1:9')
    with pytest.raises(SystemExit):
        check({'net': dict(sources=[dict(url=server.url('/a.pth'))])})
    assert f'{name} is set' in capsys.readouterr().err


def test_what_no_measurement_settles_stays(check, server):
    doubts = 'no SHA-256 is known; who trained it is not stated'
    entry = dict(sources=[dict(url=server.url('/a.pth'))], uncertain=doubts)
    assert check({'net': entry}, '--write')[2]['net']['uncertain'] == 'who trained it is not stated'


def test_poses_are_compared_with_the_check_values(module, tmp_path, monkeypatch):
    """With a model that is here; --image gives the picture."""
    entry = read_registry()['swinpose-micro']
    image = tmp_path / 'image.png'
    cv2.imwrite(str(image), np.random.default_rng(0).integers(0, 256, (426, 640, 3), np.uint8))
    assert module._nose(entry, SHIPPED / entry.file, image) == 'no pose was compared'
    monkeypatch.setitem(module.NOSES, entry.name, (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match=r'the nose is at .*, expected \(0.0, 0.0, 0.0\) to 0.05') as refused:
        module._nose(entry, SHIPPED / entry.file, image)
    nose = str(refused.value).partition('[')[2].partition(']')[0].split()
    monkeypatch.setitem(module.NOSES, entry.name, tuple(map(float, nose)))
    assert module._nose(entry, SHIPPED / entry.file, image) == 'the nose is off by 0.000 pixels and 0.000'


def test_check_values_are_those_of_entries(module):
    assert module.NOSES and module.NOSES.keys() <= read_registry().keys()
    (x, y, width, height), nose = module.BOXES_XYWH[1], np.array(list(module.NOSES.values()))
    assert ((x < nose[:, 0]) & (nose[:, 0] < x + width)).all() and (
        (y < nose[:, 1]) & (nose[:, 1] < y + height)
    ).all()
