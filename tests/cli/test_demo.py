"""``mmhier demo`` without a network leaves pictures, a video, a GLB and numbers, and says what to do next."""

import re

import cv2
import pytest

from mmhier.cli import demo
from mmhier.cli.main import main
from mmhier.results.files import read_results


@pytest.fixture
def quick(monkeypatch):
    """Few people and frames."""
    monkeypatch.setattr(demo, 'NUM_SCENES', 2)
    monkeypatch.setitem(demo.WALK, 'frames', 6)
    monkeypatch.setenv('MMHIER_OFFLINE', '1')


def test_files_and_next_steps(quick, tmp_path, capsys):
    out = tmp_path / 'demo'
    assert main(['demo', '--out', str(out), '--no-show']) == 0
    assert cv2.imread(str(out / 'demo.jpg')).std() > 10
    for name in ('demo_walk_overlay.mp4', 'demo_walk_side.mp4'):
        assert cv2.VideoCapture(str(out / name)).get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert (out / 'demo_walk.glb').read_bytes()[:4] == b'glTF'
    frames = list(read_results(out / 'results.json'))
    assert [len(frame.people) for frame in frames] == [1] * 6
    printed = capsys.readouterr().out
    for path in re.findall(rf'{re.escape(str(out))}/[\\w./]+', printed):
        assert (tmp_path / path).exists(), path
    assert 'next: mmhier infer photo.jpg' in printed


def test_again_and_other_people(quick, tmp_path):
    """A second run writes over the first; with another seed the people are others."""
    pictures = []
    for seed in ('0', '0', '3'):
        assert main(['demo', '--out', str(tmp_path), '--no-show', '--seed', seed]) == 0
        pictures.append(cv2.imread(str(tmp_path / 'demo.jpg')))
    assert (pictures[0] == pictures[1]).all()
    assert pictures[0].shape != pictures[2].shape or (pictures[0] != pictures[2]).any()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / 'file').touch()
    assert main(['demo', '--out', str(tmp_path / 'file')]) == 1
    assert '--out' in capsys.readouterr().err
