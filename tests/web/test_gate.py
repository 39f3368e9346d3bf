"""Requests under foreign names and from foreign pages are refused; folders of dead processes go away."""

import asyncio
import os
import socket
import tempfile

import pytest

from mmhier.web.gate import LOCK, NEW, PREFIX, Gate, app_folder, clear_dead_folders, host_name

NAME = socket.gethostname()


def answer(gate, *headers, kind='http'):
    """What a gate in front of a page that always answers sends first."""
    sent = []

    async def page(scope, receive, send):
        sent.append(dict(type='page'))

    async def send(message):
        sent.append(message)

    pairs = [(name.encode(), value.encode()) for name, value in headers]
    asyncio.run(Gate(page, *gate)(dict(type=kind, headers=pairs), None, send))
    return sent[0].get('status', sent[0]['type'])


@pytest.mark.parametrize(
    ('gate', 'host', 'origin'),
    [
        (['127.0.0.1'], '127.0.0.1:7860', None),
        (['127.0.0.1'], 'LOCALHOST:7860', 'http://localhost:7860'),
        (['127.0.0.1'], '[::1]:7860', 'http://[::1]:7860'),
        (['127.0.0.1', ['poses.example.org']], 'poses.example.org', 'https://poses.example.org'),
        (['127.0.0.1'], 'localhost', 'http://localhost:80'),
        (['0.0.0.0'], '192.168.1.7:7860', 'http://192.168.1.7:7860'),
        (['0.0.0.0'], f'{NAME}:7860', f'http://{NAME}:7860'.lower()),
    ],
)
def test_own_pages_are_answered(gate, host, origin):
    headers = [('host', host), *([('origin', origin)] if origin else [])]
    assert answer(gate, *headers) == 'page'
    assert answer(gate, *headers, kind='websocket') == 'page'


@pytest.mark.parametrize('gate', [['127.0.0.1'], ['0.0.0.0'], ['127.0.0.1', ['poses.example.org']]])
@pytest.mark.parametrize(
    ('host', 'origin'),
    [
        ('evil.example.com:7860', 'http://evil.example.com:7860'),  # rebound to this machine
        ('evil.example.com:7860', None),
        ('127.0.0.1.evil.example.com', None),
        ('localhost@evil.example.com', None),
        ('', None),
        ('localhost:port', None),
        ('localhost/evil', None),
        ('localhost:7860', 'http://evil.example.com'),
        ('localhost:7860', 'http://localhost:8000'),  # another program on this machine
        ('localhost:7860', 'http://localhost'),
        ('localhost:7860', 'null'),
        ('localhost:7860', 'http://localhost:7860@evil.example.com'),
        ('localhost:7860', 'file://'),
    ],
)
def test_others_are_refused(gate, host, origin):
    headers = [('host', host), *([('origin', origin)] if origin else [])]
    assert answer(gate, *headers) == 403
    assert answer(gate, *headers, kind='websocket') == 'websocket.close'


def test_one_host_has_to_be_named():
    assert answer(['127.0.0.1']) == 403
    assert answer(['127.0.0.1'], ('host', 'localhost'), ('host', 'localhost')) == 403
    assert answer(['127.0.0.1'], ('host', '192.168.1.7')) == 403
    assert answer(['127.0.0.1'], kind='lifespan') == 'page'


def test_folders_of_dead_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
    others = tmp_path / 'important'
    others.mkdir()
    (others / LOCK).touch()
    (tmp_path / f'{PREFIX}link').symlink_to(others)
    (tmp_path / f'{PREFIX}file').touch()
    for name, age in (('dead', 0), ('being_made', 10), ('of_an_old_version', NEW + 10)):
        folder = tmp_path / f'{PREFIX}{name}'
        (folder / 'uploads').mkdir(parents=True)
        if name == 'dead':
            (folder / LOCK).touch()
        else:
            os.utime(folder, (folder.stat().st_mtime - age,) * 2)
    with app_folder() as living:
        left = {path.name.removeprefix(PREFIX) for path in tmp_path.iterdir()} - {
            living.name.removeprefix(PREFIX)
        }
        assert left == {'important', 'link', 'file', 'being_made'}
        assert living.stat().st_mode & 0o777 == 0o700
        assert clear_dead_folders() == []
        assert living.is_dir()
    assert not living.exists()


@pytest.mark.parametrize(
    ('given', 'name'),
    [
        ('poses.example.org', 'poses.example.org'),
        ('Poses.example.org:8443', 'poses.example.org'),
        ('https://poses.example.org/', 'poses.example.org'),
        ('192.168.1.7', '192.168.1.7'),
        ('192.168.1.7:80', '192.168.1.7'),
        ('fe80::1', 'fe80::1'),
        ('[fe80::1]:80', 'fe80::1'),
    ],
)
def test_names_are_those_of_hosts_whatever_the_port(given, name):
    assert host_name(given) == name
    shown = f'[{name}]' if ':' in name else name
    assert answer(['127.0.0.1', [host_name(given)]], ('host', f'{shown}:7860')) == 'page'


@pytest.mark.parametrize('given', ['', 'a/b', 'user@host', 'host:port', '*', 'two names'])
def test_what_is_no_name_of_a_host_is_refused(given):
    with pytest.raises(ValueError, match='--allow-host .* is no name of a host'):
        host_name(given)
