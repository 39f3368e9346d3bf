"""``mmhier infer --on``: shards of very many inputs, stopped and gone on with."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import pytest

from mmhier.cli import main as cli
from mmhier.labelling.labeller import Labeller

OPTIONS = ['--model', 'swinpose_micro_s3_synth', '--weights', 'swinpose-micro', '--detector', 'whole_image']
OPTIONS += ['--device', 'cpu']


@pytest.fixture
def photos(tmp_path, pictures):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f'{number}.png'), pictures[number])
    return folder


def on_local(*arguments):
    return cli.main(['infer', '--on', 'local', *OPTIONS, *map(str, arguments)])


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != '.mmhier.lock'}


def test_stopped_and_gone_on_with(photos, tmp_path, monkeypatch, capsys):
    """Each shard is done once, and the files are those of a run that was not stopped."""
    (photos / '4.png').write_bytes((photos / '4.png').read_bytes()[:300])
    assert on_local(photos, '--shard-size', 2, '--out', tmp_path / 'whole') == 3
    whole, labelled, label = capsys.readouterr(), [], Labeller.label
    assert '3 of 3 shards: 5 frames, 5 people in' in whole.out
    assert f'skipped 1 in {photos / "4.png"}: image' in whole.err

    def stopped(self, shard):
        if len(labelled) == 2:
            raise KeyboardInterrupt
        labelled.append(shard.number)
        return label(self, shard)

    monkeypatch.setattr(Labeller, 'label', stopped)
    command = [photos, '--shard-size', 2, '--out', tmp_path / 'out']
    assert on_local(*command) == 130
    (tmp_path / 'out' / '.123.456.results_000002.json').touch()  # of a process that was killed
    labelled.clear()
    assert on_local(*command) == 3 and labelled == [2]
    assert '1 of 3 shards; 2 were done before: 1 frames' in capsys.readouterr().out
    assert contents(tmp_path / 'out') == contents(tmp_path / 'whole')
    assert on_local(*command, '--quiet') == 0 and labelled == [2]
    assert '0 of 3 shards' not in capsys.readouterr().out
    assert on_local(*command, '--batch-size', 2) == 1
    assert 'batch_size was 8 and is 2' in capsys.readouterr().err


def test_a_shard_that_cannot_be_done_is_named(photos, tmp_path, monkeypatch, capsys):
    label = Labeller.label

    def failing(self, shard):
        if shard.number == 1:
            raise RuntimeError('out of luck')
        return label(self, shard)

    monkeypatch.setattr(Labeller, 'label', failing)
    assert on_local(photos, '--shard-size', 2, '--out', tmp_path / 'out') == 1
    told = capsys.readouterr()
    assert '2 of 3 shards: 4 frames' in told.out
    assert (
        f'shard 1 ({photos / "2.png"} and 1 more inputs) is not done: RuntimeError: out of luck' in told.err
    )
    assert not (tmp_path / 'out' / 'results_000001.json').exists()


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--save', 'overlay'], '--save overlay with --on local: there are json, npz, parquet'),
        (['--show'], '--show: not with --on local'),
        (['--overwrite', '--webcam', 0], '--webcam, --overwrite: not with --on local'),
        (['--shard-size', 0], '--shard-size 0: must be at least 1'),
        (['--workers', 2], '--workers 2: --on local has one'),
        (['--track'], r'--track with --on local: for videos only, as .*0\.png is none'),
        (['--on', 'ray', '--device', 'cuda:1'], '--device cuda:1: Ray gives every worker a GPU of its own'),
        (['--weights', 'random'], '--weights random: every worker would have weights of its own'),
    ],
)
def test_options_that_make_no_sense(photos, tmp_path, capsys, options, message):
    import re

    assert on_local(photos, '--out', tmp_path / 'out', *options) == 1
    assert re.search(message, capsys.readouterr().err)
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    'words', [['--workers', '2'], ['--shard-size', '9'], ['--out', 's3://a/b'], ['s3://a/b.jpg']]
)
def test_what_needs_on_says_so(photos, capsys, words):
    assert cli.main(['infer', *OPTIONS, *words, str(photos)]) == 1
    assert 'only with --on ray or --on local' in capsys.readouterr().err


def test_what_is_missing_for_ray_is_named(photos, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'ray', None)
    assert on_local(photos, '--on', 'ray', '--out', tmp_path / 'out') == 1
    assert '--on ray needs: pip install ray' in capsys.readouterr().err


def test_the_default_detector_is_one_for_all_workers(monkeypatch):
    from mmhier.detection.detector import WholeImage
    from mmhier.labelling import preparation

    monkeypatch.setattr(preparation, 'load_detector', lambda spec, threshold: WholeImage())
    assert preparation.fetch_detector(None, 0.3) == 'whole_image'
    monkeypatch.setattr(preparation, 'load_detector', lambda spec, threshold: object())
    assert preparation.fetch_detector(None, 0.3) == preparation.DEFAULT_DETECTOR
    assert preparation.fetch_detector('rtmdet-m', 0.3) == 'rtmdet-m'


@pytest.mark.slow
def test_killed_and_gone_on_with(photos, tmp_path, capsys):
    """A process that is killed at any moment."""
    many = tmp_path / 'many.txt'
    for number in range(60):
        (photos / f'copy_{number}.png').hardlink_to(photos / f'{number % 6}.png')
    many.write_text('\n'.join(f'photos/copy_{number}.png' for number in range(60)))
    command = [many, '--shard-size', 2, '--out', tmp_path / 'out']
    kills, out = 0, tmp_path / 'out'
    while kills < 3:
        before = len(contents(out)) if out.exists() else 0
        process = subprocess.Popen(
            [sys.executable, '-m', 'mmhier', 'infer', '--on', 'local', *OPTIONS, *map(str, command)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and process.poll() is None:
            if out.exists() and len(contents(out)) > before + 3:
                break
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        kills += 1
    assert on_local(*command) == 0
    again = capsys.readouterr().out
    assert 'were done before' in again
    found = [json.loads(content)['frames'] for name, content in contents(out).items() if name != 'plan.json']
    assert sorted(f['source'] for frames in found for f in frames) == sorted(
        str(photos / f'copy_{n}.png') for n in range(60)
    )
    assert len(found) == 30
