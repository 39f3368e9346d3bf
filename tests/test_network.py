"""Downloads that fail, wherever they are made: one line with the address, the reason and the remedy.

The servers are on this machine; nothing leaves it.
"""

import http.client
import http.server
import io
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import mmengine.fileio
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from mmpose.datasets import CocoDataset
from mmpose.evaluation import CocoMetric

from mmhier import download, network
from mmhier.cli.main import main
from mmhier.compat.checkpoint import load_url
from mmhier.datasets.coco import CheckedCocoDataset
from mmhier.engine.initial_weights import check_initial_weights, checkpoint_address
from mmhier.engine.preflight import check_config
from mmhier.models.backbones.truncated_backbone import TruncatedBackbone
from mmhier.network import DownloadError, downloading
from mmhier.testing import write_dot_people

ROOT = Path(__file__).parents[1]
POSE = 'swinpose_micro_s3_synth'
SAID = {
    'absent': 'the server answers 404 Not Found',
    'refused': 'Connection refused',
    'silent': r'no answer within 0\.2 s',
    'stalled': r'no answer within 0\.2 s',
    'broken': 'the connection ended|Remote end closed connection without response',
    'certificate': 'SSL|wrong version number|WRONG_VERSION_NUMBER',
    'unknown_host': 'Name or service not known',
}


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers by the name that is asked for."""

    def do_GET(self):
        kind = self.path.strip('/').partition('.')[0]
        self.server.asked.append(kind)
        if kind in ('silent', 'stalled'):
            if kind == 'stalled':
                self.send_response(200)
                self.send_header('Content-Length', '9999')
                self.end_headers()
            self.server.over.wait(20)
        elif kind == 'broken':
            self.close_connection = True
        elif kind in self.server.content:
            body, claimed = self.server.content[kind]
            self.send_response(200)
            self.send_header('Content-Length', str(claimed))
            self.end_headers()
            self.wfile.write(body)
        else:
            self.send_error(404)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path, downloads):
    """A server that knows a checkpoint, half of it, and a web page; downloads go to ``hub``."""
    file = io.BytesIO()
    torch.save(dict(state_dict=dict(weight=torch.arange(3000.0))), file)
    whole = file.getvalue()
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Answers) as made:
        made.asked, made.over = [], threading.Event()
        page = b'<html>please log in</html>'
        made.content = dict(good=(whole, len(whole)), half=(whole[:5000], len(whole)), page=(page, len(page)))
        thread = threading.Thread(target=made.serve_forever, kwargs=dict(poll_interval=0.01))
        thread.start()
        monkeypatch.setenv('TORCH_HOME', str(tmp_path))
        monkeypatch.setattr(torch.hub, '_hub_dir', str(tmp_path / 'hub'))  # set_dir() would stay
        yield made
        made.over.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def address(server, monkeypatch):
    """The address of each kind of failure."""
    monkeypatch.setattr(network, 'PATIENCE', 0.2)
    monkeypatch.setattr(download, 'TIMEOUT_S', 0.2)

    def of(kind):
        if kind == 'unknown_host':

            def unknown(*_, **__):
                raise socket.gaierror(socket.EAI_NONAME, 'Name or service not known')

            monkeypatch.setattr(socket, 'getaddrinfo', unknown)
            return 'http://nowhere.invalid/weights.pth'
        port = 9 if kind == 'refused' else server.server_port
        return f'http{"s" if kind == "certificate" else ""}://127.0.0.1:{port}/{kind}.pth'

    return of


@pytest.mark.parametrize('kind', SAID)
def test_each_failure_of_a_checkpoint_is_one_sentence(address, tmp_path, kind):
    url = address(kind)
    target = tmp_path / 'hub' / 'checkpoints' / url.rpartition('/')[2]
    for read in (load_url, CheckpointLoader.load_checkpoint):
        with pytest.raises(DownloadError, match=SAID[kind]) as error:
            read(url)
        assert str(error.value).startswith(f'{url} cannot be downloaded (')
        assert str(error.value).endswith(f'fetch it elsewhere and put it at {target}')
        assert len(str(error.value).splitlines()) == 1
    assert not list(target.parent.iterdir())
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    ('kind', 'said'),
    [
        ('half', r'it broke off after 5,000 of [\d,]+ bytes \(3 tries'),
        ('page', 'page.pth is not a checkpoint'),
    ],
)
def test_what_is_not_whole_is_not_kept(address, tmp_path, kind, said):
    with pytest.raises(DownloadError, match=rf'{kind}.pth cannot be downloaded \(.*{said}.*put it at'):
        load_url(address(kind))
    assert not list((tmp_path / 'hub' / 'checkpoints').iterdir())


def test_a_wrong_hash_is_one_sentence(address, server):
    server.content['good-0badc0de'] = server.content['good']
    with pytest.raises(DownloadError, match='what it gives has the SHA-256 .*, its name says 0badc0de'):
        load_url(address('good-0badc0de'), check_hash=True)


def test_a_file_is_downloaded_once(address, server):
    for _ in range(2):
        assert len(load_url(address('good'))['state_dict']['weight']) == 3000
    assert server.asked == ['good']


def test_a_file_put_there_by_hand_is_taken(address, tmp_path):
    url = address('refused')
    with pytest.raises(DownloadError) as error:
        load_url(url)
    place = Path(str(error.value).rpartition(' put it at ')[2])
    torch.save(dict(state_dict=dict(weight=torch.ones(2))), place)
    assert len(load_url(url)['state_dict']['weight']) == 2


@pytest.mark.parametrize('kind', [*SAID, 'half'])
def test_annotations_and_pictures_from_elsewhere(address, kind):
    url = address(kind)
    said = 'the connection ended after 5000 bytes' if kind == 'half' else SAID[kind]
    for read in (mmengine.fileio.get, mmengine.fileio.get_text):
        with pytest.raises(DownloadError, match=f'{url} cannot be downloaded .*({said})'):
            read(url)
    with pytest.raises(DownloadError, match='give the name of the file'), mmengine.fileio.get_local_path(url):
        pass


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError), downloading('a', 'b'):
        (tmp_path / 'absent').read_bytes()
    with pytest.raises(ZeroDivisionError), downloading('a', 'b'):
        raise ZeroDivisionError
    assert socket.getdefaulttimeout() is None


def test_initial_weights_are_downloaded_before_anything_is_built(address, server):
    model = dict(backbone=dict(type='A', init_cfg=dict(type='Pretrained', checkpoint=address('good'))))
    check_initial_weights(model)
    assert server.asked == ['good']
    for part, init_cfg, field in (
        ('backbone', dict(type='Pretrained', checkpoint=address('absent')), 'init_cfg.checkpoint'),
        ('head', [dict(type='Pretrained', checkpoint=address('absent'))], 'init_cfg.0.checkpoint'),
    ):
        remedy = (
            rf'put it at \S*absent.pth; or --cfg-options model\.{part}\.{field}=FILE names another, '
            rf'model\.{part}\.init_cfg=None starts from random weights'
        )
        with pytest.raises(DownloadError, match=remedy):
            check_initial_weights({**model, part: dict(init_cfg=init_cfg)})


def test_only_the_first_process_downloads(address, server, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    check_initial_weights(dict(init_cfg=dict(type='Pretrained', checkpoint=address('good'))))
    assert not server.asked


def test_names_of_mmengine_are_addresses():
    assert checkpoint_address('mmcls://mobilenet_v2').startswith('https://')
    assert checkpoint_address('openmmlab://vgg16_caffe').startswith('https://')
    assert checkpoint_address('s3://bucket/a.pth') is None
    with pytest.raises(ValueError, match='knows no weights mmcls://mobilenet_v3; did you mean mobilenet_v2'):
        checkpoint_address('mmcls://mobilenet_v3', 'model.backbone.init_cfg.checkpoint')


@pytest.fixture
def people(tmp_path):
    for split, seed in (('train', 0), ('val', 1)):
        write_dot_people(tmp_path, split, 4, seed)
    return tmp_path


# Options of each command that reads weights from an address.
COMMANDS = {
    'test': '{model} {url} --cfg-options test_dataloader.dataset.data_root={data}/ '
    'test_evaluator.ann_file={data}/annotations/person_keypoints_val.json',
    'infer': '{data}/images/val --model {model} --weights {url}',
    'export': '{model} {url}',
    'app': '--model {model} --weights {url}',
}


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_ends_in_one_line(command, address, people, monkeypatch, capsys):
    from mmhier.cli import app

    monkeypatch.setattr(app, 'import_gradio', lambda: None)
    monkeypatch.chdir(people)
    url = address('refused')
    words = COMMANDS[command].format(model=POSE, url=url, data=people).split()
    assert main([command, *words]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f'mmhier: DownloadError: {url} cannot be downloaded (') and 'put it at' in error


def test_training_ends_in_one_line(address, people):
    """``tools/train.py`` in a fresh process, without an internet and without a page of log before."""
    url = address('refused')
    options = [f'{split}_dataloader.dataset.data_root={people}/' for split in ('train', 'val')]
    options += [f'val_evaluator.ann_file={people}/annotations/person_keypoints_val.json']
    options += ['model.backbone.init_cfg.type=Pretrained', f'model.backbone.init_cfg.checkpoint={url}']
    command = [sys.executable, '-W', 'ignore', ROOT / 'tools' / 'train.py', POSE, '--cfg-options', *options]
    done = subprocess.run(
        command,
        cwd=people,
        env=dict(os.environ, PYTHONPATH=str(ROOT)),
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stderr.splitlines()
    assert done.returncode == 1 and said[-1].startswith(
        f'mmhier: DownloadError: {url} cannot be downloaded ('
    )
    assert said[-1].endswith('model.backbone.init_cfg=None starts from random weights')
    assert len(said + done.stdout.splitlines()) < 10


def test_a_checkpoint_to_start_from_is_downloaded_first(address):
    with pytest.raises(DownloadError, match='absent.pth cannot be downloaded'):
        check_config(Config(dict(load_from=address('absent'))), ())


def test_annotations_from_elsewhere(address, server, people):
    """They work, and are named where they do not."""
    path = people / 'annotations' / 'person_keypoints_val.json'
    server.content['people'] = path.read_bytes(), path.stat().st_size
    for kind in (CheckedCocoDataset, CocoDataset):
        found = kind(ann_file=address('people'), data_prefix=dict(img=str(people)), test_mode=True)
        assert len(found) == 4
        with pytest.raises(
            DownloadError, match='absent.pth cannot be downloaded .*give the name of the file'
        ):
            kind(ann_file=address('absent'), test_mode=True)
    with pytest.raises(DownloadError, match='absent.pth cannot be downloaded'):
        CocoMetric(ann_file=address('absent'))


def test_weights_of_timm(monkeypatch):
    pytest.importorskip('timm')
    config = dict(type='timm', name='test_convnext', pretrained=True)
    network = TruncatedBackbone(config, num_stages=2)

    def offline(*_, **__):
        raise FileNotFoundError('We cannot find the requested files in the local cache')

    monkeypatch.setattr(TruncatedBackbone, '_load_timm', offline)
    with pytest.raises(DownloadError, match=r"timm's weights of test_convnext cannot be .*checkpoint=FILE"):
        network.init_weights()


def test_what_a_server_says_cannot_command_a_terminal():
    wild = http.client.BadStatusLine('\x1b]0;owned\x07' + 'a' * 5000)
    said = network.reason_of(wild, 1.0)
    assert said.startswith('it does not speak HTTP, but says ') and said.isprintable() and len(said) < 300
