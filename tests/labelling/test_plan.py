"""Every input is in one shard, and stays in it."""

import uuid
from collections import Counter

import pytest

from mmhier.labelling.plan import NAME, Shard, cut, find_inputs, make_plan
from mmhier.labelling.storage import put, read_content

SETTINGS = dict(model='a', batch_size=8, shard_size=2, formats=['json'])


def touch(folder, *names):
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return [str(folder / name) for name in names]


def plan(folder, inputs, **changed):
    return make_plan(str(folder), inputs, SETTINGS | changed, ['json', 'npz'])


def finish(folder, shard, *endings):
    for ending in endings:
        (folder / f'{shard.stem}.{ending}').touch()


def test_inputs_of_all_kinds(tmp_path):
    photos = touch(tmp_path / 'photos', 'a.jpg', 'b.PNG', 'clip.mp4', 'set.tar')
    touch(tmp_path / 'photos', 'notes.md', 'README', '.hidden.jpg')
    other = touch(tmp_path / 'other', 'c.jpg')
    (tmp_path / 'list.txt').write_text(f'photos/a.jpg\n\n  other/d.jpg \ns3://bucket/e.jpg\n{other[0]}\n')
    left_out = Counter()
    given = [str(tmp_path / 'photos'), str(tmp_path / 'list.txt'), str(tmp_path / 'none.jpg'), other[0]]
    found = find_inputs(given, left_out)
    listed = [str(tmp_path / 'other/d.jpg'), 's3://bucket/e.jpg', other[0]]
    assert found == [*photos, *listed, str(tmp_path / 'none.jpg')]
    assert left_out == {
        'files that are no pictures, videos or tars (.md)': 1,
        'files that are no pictures, videos or tars (no ending)': 1,
        'inputs that are named twice': 2,
    }
    assert find_inputs([str(tmp_path / 'photos' / '*.jpg')], left_out) == photos[:1]


def test_nothing_to_label(tmp_path):
    touch(tmp_path / 'photos', 'notes.md')
    with pytest.raises(FileNotFoundError, match=r'photos: no pictures, videos or tars are there'):
        find_inputs([str(tmp_path / 'photos')], Counter())
    with pytest.raises(FileNotFoundError, match=r'photo does not exist; did you mean .*photos\?'):
        find_inputs([str(tmp_path / 'photo')], Counter())


@pytest.mark.parametrize('size', [1, 3, 100])
def test_shards_part_the_inputs(size):
    inputs = [f'{number}.{"jpg jpg mp4 jpg tar".split()[number % 5]}' for number in range(23)]
    shards = cut(inputs, size)
    assert [shard.number for shard in shards] == list(range(len(shards)))
    assert sorted(name for shard in shards for name in shard.inputs) == sorted(inputs)
    for shard in shards:
        pictures = [name for name in shard.inputs if name.endswith('.jpg')]
        assert len(shard.inputs) == 1 or pictures == [*shard.inputs]
        assert len(shard.inputs) <= size
    assert len({shard.stem for shard in shards}) == len(shards)


def test_a_plan_is_made_once_and_gone_on_with(tmp_path):
    inputs = [f'{number}.jpg' for number in range(5)]
    made = plan(tmp_path, inputs)
    assert made.todo == made.shards == cut(inputs, 2) and len(made.shards) == 3
    content = (tmp_path / NAME).read_bytes()
    finish(tmp_path, made.shards[0], 'json', 'npz')
    finish(tmp_path, made.shards[1], 'json')  # killed between its two files
    again = plan(tmp_path, ['4.jpg', '0.jpg', 'new.jpg'])
    assert again.shards == made.shards and again.todo == made.shards[1:] and again.new == 1
    assert (tmp_path / NAME).read_bytes() == content
    for shard in made.shards:
        finish(tmp_path, shard, 'json', 'npz')
    assert plan(tmp_path, inputs).todo == ()


def test_a_plan_in_object_storage(tmp_path):
    pytest.importorskip('fsspec')
    folder = f'memory://{uuid.uuid4()}'
    made = make_plan(folder, ['a.jpg', 'b.jpg', 'c.jpg'], SETTINGS, ['json'])
    (tmp_path / 'any').touch()
    put(tmp_path / 'any', f'{folder}/results_000001.json')
    assert make_plan(folder, ['a.jpg'], SETTINGS, ['json']).todo == made.shards[:1]


def test_other_settings_are_refused_and_named(tmp_path):
    plan(tmp_path, ['a.jpg'])
    with pytest.raises(
        ValueError, match="batch_size was 8 and is 4; focal was None and is 'official'.* --out"
    ):
        plan(tmp_path, ['a.jpg'], batch_size=4, focal='official')


@pytest.mark.parametrize(
    'content', [b'', b'{', b'[]', b'{"schema": "mmhier.plan"}', b'{"schema": "mmhier.results", "version": 1}']
)
def test_a_damaged_plan_is_refused(tmp_path, content):
    (tmp_path / NAME).write_bytes(content)
    with pytest.raises(ValueError, match=NAME):
        plan(tmp_path, ['a.jpg'])
    assert read_content(str(tmp_path / NAME)) == content


def test_results_of_something_else_are_not_mixed_in(tmp_path):
    (tmp_path / 'results.json').touch()
    with pytest.raises(FileExistsError, match=r'results without a plan\.json, such as results\.json'):
        plan(tmp_path, ['a.jpg'])


def test_names_that_are_no_text_survive(tmp_path):
    inputs = ['a\udcff.jpg', 'b\n.jpg', 'ü.jpg']
    assert (
        plan(tmp_path, inputs).shards
        == plan(tmp_path, inputs).shards
        == (
            Shard(0, tuple(inputs[:2])),
            Shard(1, tuple(inputs[2:])),
        )
    )
