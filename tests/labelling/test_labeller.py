"""The files of a shard: what a single process finds, once, and what could not be read."""

import json
import uuid

import pytest

from mmhier.inference.inferencer import Inferencer
from mmhier.labelling.labeller import Labeller
from mmhier.labelling.plan import Shard, cut, find_inputs
from mmhier.labelling.storage import put, read_content
from mmhier.results.files import read_results
from mmhier.results.frame_result import frame_to_json


def read(folder, number=0):
    return json.loads(read_content(f'{folder}/{Shard(number, ()).stem}.json'))


def test_shards_hold_what_a_single_process_finds(inputs, make_job, tmp_path):
    """Bit by bit, where batches are the same: of one person."""
    from collections import Counter

    given, sources = inputs
    labeller = Labeller(make_job(batch_size=1))
    reports = [labeller.label(shard) for shard in cut(find_inputs(given, Counter()), 3)]
    assert [report.frames for report in reports] == [3, 2, 3, 2]  # the folder, the tar, and the rest of it
    documents = [read(tmp_path / 'out', report.number) for report in reports]
    frames = {frame['source']: frame for document in documents for frame in document['frames']}
    assert (
        sorted(frames)
        == sorted(sources)
        == sorted(frame['source'] for document in documents for frame in document['frames'])
    )
    job = make_job(batch_size=1)
    alone = {result.source: result for result in Inferencer(**job.model)(given[0])}
    assert len(alone) == 7
    for source, result in alone.items():
        assert frames[source] == frame_to_json(result)
    skips = [skip for report in reports for skip in report.skips]
    assert [(skip.name, skip.count) for skip in skips] == [(f'{given[0]}/3.jpg', 1), (given[2], 1)]
    assert 'damaged' in skips[0].reason and 'does not exist' in skips[1].reason
    assert documents[1]['skipped'] == [dict(name=skips[0].name, reason=skips[0].reason, count=1)]
    assert reports[2].left_out == {'files in tars that are no pictures (.json)': 1}
    assert all(read_results(tmp_path / 'out' / f'results_{n:06d}.json') for n in range(4))


def test_addresses_are_what_files_are(inputs, make_job, tmp_path):
    """A picture, a tar and results in object storage; also that what is kept of them goes away."""
    pytest.importorskip('fsspec')
    (folder, tar, _), _ = inputs
    place = f'memory://{uuid.uuid4()}'
    put(f'{folder}/0.jpg', f'{place}/0.jpg')
    put(tar, f'{place}/more.tar')
    names = (f'{place}/0.jpg', f'{place}/more.tar', f'{place}/none.jpg')
    report = Labeller(make_job(f'{place}/out')).label(Shard(0, names))
    assert report.frames == 4
    assert [(skip.name, skip.reason) for skip in report.skips] == [(names[2], f'{names[2]} does not exist')]
    Labeller(make_job()).label(Shard(0, (f'{folder}/0.jpg', tar)))
    there, here = read(f'{place}/out')['frames'], read(tmp_path / 'out')['frames']
    assert [frame['source'] for frame in there] == [
        names[0],
        *(f'{names[1]}/more/{n:04d}.jpg' for n in (8, 9, 10)),
    ]
    assert [frame['sequence'] for frame in there] == [place, *[f'{names[1]}/more'] * 3]
    assert [frame['people'] for frame in there] == [frame['people'] for frame in here]


def test_a_shard_of_which_nothing_can_be_read(make_job, make_tar, encoded, tmp_path):
    (tmp_path / 'broken.jpg').write_bytes(b'nothing')
    tar = make_tar(tmp_path / 'cut.tar', {'a.jpg': encoded[0][:100], 'b.jpg': encoded[1]})
    tar.write_bytes(tar.read_bytes()[:1800])
    packed = tmp_path / 'packed.tar'
    packed.write_bytes(b'\x1f\x8b' + bytes(100))
    names = tuple(str(tmp_path / name) for name in ('broken.jpg', 'cut.tar', 'packed.tar', 'gone.mp4'))
    report = Labeller(make_job()).label(Shard(0, names))
    assert report.frames == 0
    named = {skip.name: skip.reason for skip in report.skips}
    assert named.keys() == {*names, f'{tar}/a.jpg'}
    assert 'cut off' in named[str(tar)] and 'no tar' in named[str(packed)]
    document = read(tmp_path / 'out')
    assert document['frames'] == [] and document['complete'] and len(document['skipped']) == 5
    assert document['keypoint_names'][0] == 'nose'
    for text in (str(tmp_path / 'out'), 'member', 'fetched'):
        assert text not in json.dumps(document['skipped'])  # no file that stood in for it


def test_boxes_that_mention_some_of_the_inputs(inputs, make_job, tmp_path):
    (folder, *_), _ = inputs
    (tmp_path / 'boxes.json').write_text(json.dumps({'0.jpg': [[8, 6, 60, 90], [70, 10, 120, 92]]}))
    labeller = Labeller(make_job(boxes=str(tmp_path / 'boxes.json'), detector=None))
    reports = [labeller.label(Shard(number, (f'{folder}/{number}.jpg',))) for number in range(2)]
    assert [report.people for report in reports] == [2, 0]
    assert [skip.name for skip in reports[1].skips] == [f'{folder}/1.jpg'] and reports[1].skips[0].kept


def test_a_storage_that_does_not_answer_is_no_damaged_picture(make_job, monkeypatch, tmp_path):
    """The shard fails, and can be tried again; it is not done without its input."""
    from mmhier.labelling import storage

    def refuse(address):
        raise TimeoutError('no answer')

    monkeypatch.setattr(storage, '_system', refuse)
    with pytest.raises(OSError, match=r's3://bucket/a\.jpg cannot be used .*no answer'):
        Labeller(make_job()).label(Shard(0, ('s3://bucket/a.jpg',)))
    assert not (tmp_path / 'out').exists()
