"""What is on disk is whole at any moment, and says what the results said."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mmhier.results.files import ResultLines, check_formats, finish, read_results
from mmhier.results.frame_result import SCHEMA
from mmhier.testing.results import NAMES, make_result

KILLED = """
import os, sys
from mmhier.testing.results import make_result
from mmhier.results.files import ResultLines
lines = ResultLines(sys.argv[1])
for number in range(5):
    lines.write(make_result(number, people=number % 3))
os.kill(os.getpid(), 9)
"""


def write(path, count=5, people=None):
    lines = ResultLines(path)
    results = [make_result(number, number % 3 if people is None else people) for number in range(count)]
    for result in results:
        lines.write(result)
    lines.close()
    return results


def test_both_documents_hold_all_frames(tmp_path):
    results = write(tmp_path / 'results.jsonl')
    skips = [dict(name='b.jpg', reason='is empty', count=1)]
    files = finish(tmp_path / 'results.jsonl', ['json', 'npz'], skipped=skips)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['results.json', 'results.npz']
    assert sorted(files) == sorted(tmp_path.iterdir())
    document = json.loads(files[0].read_text())
    assert document['schema'] == SCHEMA and document['complete'] is True and document['skipped'] == skips
    read = list(read_results(files[0]))
    assert [len(result.people) for result in read] == [0, 1, 2, 0, 1]
    with np.load(files[1], allow_pickle=False) as arrays:
        assert json.loads(str(arrays['header']))['keypoint_names'] == list(NAMES)
        assert arrays['source'].tolist() == ['clip.mp4'] * 5
        assert arrays['frame_index'].tolist() == [0, 1, 2, 3, 4]
        assert arrays['frame'].tolist() == [1, 2, 2, 4]
        assert arrays['track_id'].tolist() == [-1] * 4
        assert arrays['image_hw'].tolist() == [[96, 128]] * 5
        np.testing.assert_allclose(arrays['time_s'], np.arange(5) / 25)
        people = [person for result in results for person in result.people]
        assert arrays['keypoints'].dtype == np.float32
        for name in ('keypoints', 'keypoint_scores', 'bbox', 'bbox_score'):
            expected = np.stack([getattr(person, name) for person in people])
            np.testing.assert_allclose(arrays[name], expected, atol=6e-4, err_msg=name)


def test_bodies_are_in_the_arrays(tmp_path, mesh_results):
    lines = ResultLines(tmp_path / 'results.jsonl')
    for result in mesh_results:
        lines.write(result)
    lines.close()
    (path,) = finish(tmp_path / 'results.jsonl', ['npz'])
    people = [person for result in mesh_results for person in result.people]
    with np.load(path, allow_pickle=False) as arrays:
        for name in ('global_orient', 'body_pose', 'betas', 'camera', 'transl', 'joints_3d', 'focal_length'):
            expected = np.stack([getattr(person.mesh, name) for person in people])
            assert arrays[name].shape == expected.shape
            np.testing.assert_allclose(arrays[name], expected, atol=1e-3, rtol=1e-6, err_msg=name)


def test_nobody_at_all(tmp_path):
    write(tmp_path / 'results.jsonl', 3, people=0)
    json_file, npz_file = finish(tmp_path / 'results.jsonl', ['json', 'npz'], complete=False)
    assert json.loads(json_file.read_text())['complete'] is False
    assert [len(result.people) for result in read_results(json_file)] == [0, 0, 0]
    with np.load(npz_file, allow_pickle=False) as arrays:
        assert arrays['keypoints'].shape == (0, 3, 2) and arrays['frame_index'].shape == (3,)


def test_lines_of_a_killed_run_are_whole(tmp_path):
    path = tmp_path / 'results.jsonl'
    done = subprocess.run([sys.executable, '-c', KILLED, str(path)], capture_output=True)
    assert done.returncode == -9, done.stderr
    with open(path, 'ab') as file:
        file.write(b'{"source": "cut o')
    assert [len(result.people) for result in read_results(path)] == [0, 1, 2, 0, 1]
    with pytest.raises(FileExistsError, match='mmhier infer --finish'):
        ResultLines(path)
    finish(path, ['json', 'npz'], complete=False)
    assert len(list(read_results(tmp_path / 'results.json'))) == 5


@pytest.mark.parametrize('kept', [0, 10, 200])
def test_a_full_disk_cuts_no_line(tmp_path, kept):
    """The disk takes some bytes of a line, then no more."""
    lines = ResultLines(tmp_path / 'results.jsonl')
    lines.write(make_result(0))
    lines.write(make_result(1))
    real = lines._file

    class Full:
        tell, seek, fileno, close = real.tell, real.seek, real.fileno, real.close
        left = kept

        def write(self, data):
            if not self.left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            taken = real.write(data[: self.left])
            self.left -= taken
            return taken

    lines._file = Full()
    with pytest.raises(OSError, match='No space left'):
        lines.write(make_result(2))
    lines._file = real
    assert (tmp_path / 'results.jsonl').read_bytes().endswith(b'}\n')
    assert [result.frame_index for result in read_results(lines.path)] == [0, 1]
    lines.write(make_result(3))  # there is room again
    lines.close()
    assert [result.frame_index for result in read_results(lines.path)] == [0, 1, 3]


def test_a_full_disk_at_the_end_leaves_the_lines(tmp_path, monkeypatch):
    write(tmp_path / 'results.jsonl')
    before = (tmp_path / 'results.jsonl').read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr('mmhier.results.files._dump', full)
    with pytest.raises(OSError, match='No space left'):
        finish(tmp_path / 'results.jsonl', ['json'])
    assert [path.name for path in tmp_path.iterdir()] == ['results.jsonl']
    assert (tmp_path / 'results.jsonl').read_bytes() == before


def test_damaged_files_are_named(tmp_path):
    (tmp_path / 'results.json').write_text('{"frames": [')
    with pytest.raises(ValueError, match=r'results.json is not a JSON file'):
        list(read_results(tmp_path / 'results.json'))
    (tmp_path / 'results.json').write_text('[1, 2]')
    with pytest.raises(ValueError, match=r'results.json holds no results .*list'):
        list(read_results(tmp_path / 'results.json'))
    write(tmp_path / 'results.jsonl', 1)
    (path,) = finish(tmp_path / 'results.jsonl', ['json'])
    document = json.loads(path.read_text())
    del document['frames'][0]['image_hw']
    path.write_text(json.dumps(document))
    with pytest.raises(ValueError, match=r'results.json is damaged.*image_hw'):
        list(read_results(path))
    with pytest.raises(FileNotFoundError):
        list(read_results(tmp_path / 'absent.json'))


def test_a_run_killed_before_its_first_frame_has_nothing_to_finish(tmp_path):
    ResultLines(tmp_path / 'results.jsonl').close()
    with pytest.raises(ValueError, match=r'results.jsonl holds no results.*remove'):
        finish(tmp_path / 'results.jsonl', ['json'])
    assert [path.name for path in tmp_path.iterdir()] == ['results.jsonl']


FOREIGN = [
    {'images': [], 'annotations': []},
    {'a.jpg': [[0, 0, 5, 5]]},
    {},
    {'schema': 'mmhier.results', 'version': '1', 'frames': []},
    {'schema': 'mmhier.results', 'version': 1},
    {'schema': 'mmhier.results', 'version': 1, 'frames': {}},
]


@pytest.mark.parametrize('content', FOREIGN)
def test_foreign_json_is_no_run_without_frames(tmp_path, content):
    (tmp_path / 'other.json').write_text(json.dumps(content))
    with pytest.raises(ValueError, match='other.json .*no results'):
        list(read_results(tmp_path / 'other.json'))


def test_foreign_lines_are_neither_read_nor_removed(tmp_path):
    path = tmp_path / 'other.jsonl'
    path.write_text('{"step": 1}\n{"step": 2}\n')
    with pytest.raises(ValueError, match='other.jsonl holds no results of mmhier infer'):
        list(read_results(path))
    with pytest.raises(ValueError, match='other.jsonl holds no results of mmhier infer'):
        finish(path, ['json'])
    assert path.read_text().count('\n') == 2 and not (tmp_path / 'other.json').exists()


def test_a_run_that_ended_before_its_first_frame_has_none(tmp_path):
    (tmp_path / 'results.jsonl').write_bytes(b'{"schema": "mmhier.res')
    assert list(read_results(tmp_path / 'results.jsonl')) == []


def test_a_file_name_that_is_not_utf_8_comes_back(tmp_path):
    name = os.fsdecode(b'caf\xe9.png')
    lines = ResultLines(tmp_path / 'results.jsonl')
    lines.write(make_result(source=name))
    lines.close()
    assert [result.source for result in read_results(lines.path)] == [name]
    json_file, npz_file = finish(lines.path, ['json', 'npz'])
    assert [result.source for result in read_results(json_file)] == [name]
    json_file.read_text(encoding='utf-8')
    with np.load(npz_file) as arrays:
        assert arrays['source'].tolist() == [name]


def test_parquet_has_the_frames_of_json(tmp_path, mesh_results):
    """Also where nobody is on a frame, nobody has a mesh, and a name is no text."""
    pq = pytest.importorskip('pyarrow.parquet')
    plain = [make_result(number, number % 3, source='a\udcff.jpg') for number in range(4)]
    schemas = []
    for number, results in enumerate([mesh_results, plain, []]):
        lines = ResultLines(tmp_path / f'{number}.jsonl')
        lines.begin(make_result())
        for result in results:
            lines.write(result)
        lines.close()
        skips = [dict(name='b.jpg', reason='is empty', count=1)]
        json_file, parquet = finish(lines.path, ['json', 'parquet'], skipped=skips)
        document, table = json.loads(json_file.read_text()), pq.read_table(parquet)
        rows = [{name: _without_nulls(value) for name, value in row.items()} for row in table.to_pylist()]
        for frame in document['frames']:
            frame['source'] = frame['source'].replace('\udcff', '\\udcff')
        assert rows == [_without_nulls(frame) for frame in document.pop('frames')]
        assert json.loads(table.schema.metadata[b'mmhier']) == document
        schemas.append(table.schema.remove_metadata())
    assert schemas[0] == schemas[1] == schemas[2]


def _without_nulls(value):
    """Parquet has a value for every field of a structure, JSON only those that are known."""
    if isinstance(value, dict):
        return {name: _without_nulls(one) for name, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def test_a_run_without_frames_has_a_header(tmp_path):
    lines = ResultLines(tmp_path / 'results.jsonl')
    lines.begin(make_result())
    lines.close()
    (document,) = finish(lines.path, ['json'])
    assert list(read_results(document)) == []
    assert json.loads(document.read_text())['keypoint_names'] == list(NAMES)


def test_parquet_says_what_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match='pip install pyarrow'):
        check_formats(['json', 'parquet'])
    check_formats(['json'])
