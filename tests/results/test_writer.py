"""Every kind of file is written, named after its input, and finished whatever happens."""

import copy
import dataclasses
import errno
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from mmhier.media import Skip
from mmhier.results.earlier import NAME
from mmhier.results.files import read_results
from mmhier.results.writer import KINDS, OutputError, ResultWriter
from mmhier.testing.results import make_result

# Parquet needs a package that is not always there; tests/results/test_files.py has it.
ALL = [kind for kind in KINDS if kind != 'parquet']


def names(folder):
    files = (path for path in folder.rglob('*') if path.is_file() and path.name != NAME)
    return sorted(str(path.relative_to(folder)) for path in files)


def frames_of(path):
    capture, count = cv2.VideoCapture(str(path)), 0
    while capture.read()[0]:
        count += 1
    return count


def test_pictures_and_documents(tmp_path):
    skips = [Skip('b.jpg', 'is empty')]
    writer = ResultWriter(tmp_path, ['json', 'overlay'])
    for source in ('one/a.jpg', 'two/a.jpg', 'two/b.png'):
        writer.write(make_result(kind='image', source=source, time_s=None, fps=None))
    for number in range(2):
        writer.write(make_result(number, kind='array', source='array', time_s=None, fps=None))
    writer.close(skipped=skips)
    pictures = ['a_2_overlay.jpg', 'a_overlay.jpg', 'array_000000_overlay.jpg', 'array_000001_overlay.jpg']
    assert names(tmp_path) == [*pictures, 'b_overlay.jpg', 'results.json']
    assert {path.name for path in writer.files} == set(names(tmp_path))
    assert cv2.imread(str(tmp_path / 'a_overlay.jpg')).shape == (96, 128, 3)
    document = json.loads((tmp_path / 'results.json').read_text())
    assert document['skipped'] == [dict(name='b.jpg', reason='is empty', count=1)]


def test_videos_are_finished_when_they_end(tmp_path):
    writer = ResultWriter(tmp_path, ['overlay'])
    for number in range(5):
        writer.write(make_result(number))
    writer.write(make_result(0, source='next.mp4'))
    assert frames_of(tmp_path / 'clip_overlay.mp4') == 5
    writer.close()
    assert frames_of(tmp_path / 'next_overlay.mp4') == 1


def test_names_are_given_once(tmp_path):
    with ResultWriter(tmp_path, ['overlay']) as writer:
        for source in ('a.jpg', 'a_2.jpg', 'x/a.jpg', 'y/a.jpg', 'x/a_2.jpg'):
            writer.write(make_result(kind='image', source=source, people=0))
    stems = [path.stem.removesuffix('_overlay') for path in writer.files]
    assert stems[:2] == ['a', 'a_2'] and len(set(stems)) == 5


def test_names_differ_on_file_systems_that_ignore_case(tmp_path):
    with ResultWriter(tmp_path, ['overlay']) as writer:
        for source in ('A.jpg', 'x/a.jpg', 'B.jpg'):
            writer.write(make_result(kind='image', source=source, people=0))
    assert len({path.name.lower() for path in writer.files}) == 3


def test_a_video_that_is_read_again_has_files_of_its_own(tmp_path, mesh_results):
    with ResultWriter(tmp_path, ['overlay', 'glb']) as writer:
        for result in [*mesh_results, *mesh_results]:
            writer.write(result)
    assert names(tmp_path) == ['clip.glb', 'clip_2.glb', 'clip_2_overlay.mp4', 'clip_overlay.mp4']
    assert frames_of(tmp_path / 'clip_overlay.mp4') == frames_of(tmp_path / 'clip_2_overlay.mp4') == 4


def test_somebody_without_a_number_overwrites_nobody(tmp_path, mesh_results):
    first, second = (copy.copy(person) for person in mesh_results[0].people)
    first.track_id, second.track_id = 1, None
    result = dataclasses.replace(mesh_results[0], people=[first, second])
    with ResultWriter(tmp_path, ['obj']) as writer:
        writer.write(result)
    assert names(tmp_path) == ['clip_obj/000000_person_1.obj', 'clip_obj/000000_unnumbered_1.obj']


def test_a_stream_that_changes_its_size_stays_one_video(tmp_path):
    with ResultWriter(tmp_path, ['json', 'overlay']) as writer:
        writer.write(make_result(0))
        writer.write(make_result(1, image_hw=(48, 64)))
    assert frames_of(tmp_path / 'clip_overlay.mp4') == 2


def test_all_files_of_a_mesh_model(tmp_path, mesh_results):
    pytest.importorskip('pxr')
    trimesh = pytest.importorskip('trimesh')
    with ResultWriter(tmp_path, ALL) as writer:
        for result in mesh_results:
            writer.write(result)
    found = names(tmp_path)
    assert {'results.json', 'results.npz', 'clip_overlay.mp4', 'clip_side.mp4', 'clip.glb'} <= set(found)
    assert [name for name in found if name.endswith('.usd')] and len(writer.files) >= 10
    meshes = [name for name in found if name.endswith('.obj')]
    assert meshes == [f'clip_obj/{frame:06d}_person_{person}.obj' for frame in range(4) for person in (1, 2)]
    mesh = mesh_results[2].people[1].mesh
    read = trimesh.load(tmp_path / meshes[5], process=False)
    expected = (mesh.vertices() + mesh.transl) * [1, -1, -1]
    np.testing.assert_allclose(read.vertices, expected, atol=1e-4)
    scene = trimesh.load(tmp_path / 'clip.glb')
    assert len(scene.geometry) == 2
    assert [name for name in found if name.endswith('.bvh')] == ['clip-person_1.bvh', 'clip-person_2.bvh']


def test_a_video_without_people_has_no_animation(tmp_path, mesh_results):
    result = mesh_results[0]
    people, result.people = result.people, []
    try:
        with ResultWriter(tmp_path, ['json', 'glb', 'side']) as writer:
            writer.write(result)
    finally:
        result.people = people
    assert names(tmp_path) == ['clip_side.mp4', 'results.json']


def test_an_interrupted_run_leaves_whole_files_that_say_so(tmp_path):
    with pytest.raises(KeyboardInterrupt), ResultWriter(tmp_path, ['json', 'npz', 'overlay']) as writer:
        for number in range(3):
            writer.write(make_result(number))
        raise KeyboardInterrupt
    assert names(tmp_path) == ['clip_overlay.mp4', 'results.json', 'results.npz']
    assert json.loads((tmp_path / 'results.json').read_text())['complete'] is False
    assert frames_of(tmp_path / 'clip_overlay.mp4') == 3


@pytest.mark.parametrize(
    ('size', 'kept'),
    [
        (2_000, []),
        (
            50_000,
            ['clip_overlay.mp4', 'clip_side.mp4', 'clip_side_each.mp4', 'results.json', 'results.npz'],
        ),
    ],
)
def test_a_disk_that_is_really_full(tmp_path, mesh_results, small_disk, size, kept):
    """The first line of results does not fit, or the first mesh does not."""
    pytest.importorskip('pxr')
    with small_disk(size), pytest.raises(OutputError, match='cannot be written'):
        writer = ResultWriter(tmp_path, ALL)
        try:
            for result in mesh_results:
                writer.write(result)
        finally:
            writer.close(complete=False)
    assert names(tmp_path) == sorted(str(path.relative_to(tmp_path)) for path in writer.files) == kept
    if kept:
        document = json.loads((tmp_path / 'results.json').read_text())
        assert document['complete'] is False and len(document['frames']) == 1
        assert frames_of(tmp_path / 'clip_overlay.mp4') == frames_of(tmp_path / 'clip_side.mp4') == 1


def full(*_, **__):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'a file')


def test_a_full_disk_is_a_named_error_and_keeps_what_was_written(tmp_path, monkeypatch):
    error = pytest.raises(OutputError, match='cannot be written: a file: No space left')
    with error, ResultWriter(tmp_path, ['json', 'overlay']) as writer:
        for number in range(3):
            writer.write(make_result(number))
        monkeypatch.setattr(writer._videos['overlay'], 'write', full)
        writer.write(make_result(3))
    assert names(tmp_path) == ['clip_overlay.mp4', 'results.json']
    assert [result.frame_index for result in read_results(tmp_path / 'results.json')] == [0, 1, 2, 3]
    assert frames_of(tmp_path / 'clip_overlay.mp4') == 3


def test_a_full_disk_at_the_end_spares_the_other_files(tmp_path, monkeypatch):
    writer = ResultWriter(tmp_path, ['json', 'overlay'])
    for number in range(3):
        writer.write(make_result(number))
    monkeypatch.setattr('mmhier.results.writer.finish', full)
    with pytest.raises(OutputError, match='No space left'):
        writer.close()
    assert names(tmp_path) == ['clip_overlay.mp4', 'results.jsonl']
    assert len(list(read_results(tmp_path / 'results.jsonl'))) == 3


def test_an_error_in_one_file_spares_the_others(tmp_path, monkeypatch):
    writer = ResultWriter(tmp_path, ['json', 'overlay'])
    writer.write(make_result(0))
    monkeypatch.setattr(writer, '_finish_source', lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        writer.close()
    assert names(tmp_path)[-1] == 'results.json'


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(OutputError, match=r'results cannot be written: .*file'):
        ResultWriter(tmp_path / 'file' / 'out', ['json'])


def test_one_frame_alone(tmp_path):
    with ResultWriter(tmp_path, ['json', 'npz', 'overlay']) as writer:
        writer.write(make_result(kind='image', source='a.jpg'))
    assert sorted(path.name for path in writer.files) == ['a_overlay.jpg', 'results.json', 'results.npz']


def test_wrong_kinds_are_named(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r'pdf; there are: json'):
        ResultWriter(tmp_path, ['json', 'pdf'])
    monkeypatch.setitem(__import__('sys').modules, 'pxr', None)
    with pytest.raises(ImportError, match='pip install usd-core'):
        ResultWriter(tmp_path, ['usd'])
    assert names(tmp_path) == []


def test_two_runs_do_not_share_a_folder(tmp_path):
    """Nor do they where no results.jsonl stands in the way."""
    with ResultWriter(tmp_path, ['overlay']) as writer:
        writer.write(make_result(0))
        with pytest.raises(
            FileExistsError, match=f'another run of mmhier .process {os.getpid()}.*another folder'
        ):
            ResultWriter(tmp_path, ['overlay'])
        writer.write(make_result(1))
    assert names(tmp_path) == ['clip_overlay.mp4']
    with ResultWriter(tmp_path, ['overlay']) as writer:
        writer.write(make_result(0))


def test_a_lock_dies_with_its_process(tmp_path):
    code = (
        'import sys, time\n'
        'from mmhier.folder_lock import FolderLock\n'
        'lock = FolderLock(sys.argv[1])\n'
        'print("held", flush=True)\n'
        'time.sleep(60)\n'
    )
    process = subprocess.Popen([sys.executable, '-c', code, str(tmp_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b'held\n'
        with pytest.raises(FileExistsError, match=f'process {process.pid}'):
            ResultWriter(tmp_path, ['json'])
    finally:
        process.kill()
        process.wait()
    assert names(tmp_path) == ['.mmhier.lock']
    ResultWriter(tmp_path, ['json']).close()
    assert names(tmp_path) == []


def test_what_cannot_be_begun_holds_no_lock(tmp_path):
    (tmp_path / 'results.jsonl').write_text('')
    for _ in range(2):
        with pytest.raises(FileExistsError, match='was killed'):
            ResultWriter(tmp_path, ['json'])
    assert names(tmp_path) == ['results.jsonl']


def test_pages_have_files_of_their_own(tmp_path):
    with ResultWriter(tmp_path, ['overlay']) as writer:
        for number in range(3):
            writer.write(make_result(number, source='a.tif', kind='image', fps=None, time_s=None))
        writer.write(make_result(0, source='b.jpg', kind='image', fps=None, time_s=None))
    assert names(tmp_path) == [
        'a_overlay.jpg', 'a_page_2_overlay.jpg', 'a_page_3_overlay.jpg', 'b_overlay.jpg'
    ]  # fmt: skip


def test_names_that_are_not_utf_8_become_readable(tmp_path):
    with ResultWriter(tmp_path, ['json', 'overlay']) as writer:
        writer.write(make_result(0, source=os.fsdecode(b'caf\xe9.jpg'), kind='image'))
        writer.write(make_result(0, source=os.fsdecode(b'caf\xe9.mp4')))
    assert names(tmp_path) == ['caf\ufffd_2_overlay.mp4', 'caf\ufffd_overlay.jpg', 'results.json']


def test_meshes_are_posed_once_per_frame(tmp_path, mesh_results, monkeypatch):
    from mmhier.body_models.smpl import SMPL

    forward, batches = SMPL.forward, []

    def counted(self, **parameters):
        batches.append(len(parameters['betas']))
        return forward(self, **parameters)

    alone = [person.mesh.vertices() + person.mesh.transl for person in mesh_results[0].people]
    monkeypatch.setattr(SMPL, 'forward', counted)
    with ResultWriter(tmp_path, ['json', 'overlay', 'side', 'obj', 'ply']) as writer:
        for result in mesh_results:
            writer.write(result)
    assert batches == [2] * len(mesh_results)
    np.testing.assert_allclose(np.stack(mesh_results[0].vertices()), np.stack(alone), atol=1e-6)
    batches.clear()
    with ResultWriter(tmp_path, ['json']) as writer:
        writer.write(mesh_results[0])
    assert batches == []


def test_people_move_as_asked_for(mesh_results, tmp_path):
    """In BVH, in centimetres: on the spot, or through the scene."""
    ranges = {}
    for root in ('fixed', 'metric'):
        with ResultWriter(tmp_path / root, ['bvh', 'side_each'], root=root) as writer:
            for result in mesh_results:
                writer.write(result)
        (path,) = [path for path in writer.files if path.suffix == '.bvh' and 'person_1' in path.name]
        lines = path.read_text().split('Frame Time')[1].splitlines()[1:]
        places = [[float(number) for number in line.split()[:3]] for line in lines if line]
        ranges[root] = np.ptp(places, axis=0)
        assert any(path.name == 'clip_side_each.mp4' for path in writer.files)
    assert ranges['fixed'].max() < 1e-3 < ranges['metric'].max()
    with pytest.raises(ValueError, match="root='still'"):
        ResultWriter(tmp_path / 'wrong', ['bvh'], root='still')
    assert not (tmp_path / 'wrong').exists()
