"""Imperfect annotation files are repaired, with AP 1 for the truth, or refused by entry: nothing between."""

import copy
import json
import os
import re
from pathlib import Path

import pytest

from mmhier.datasets import coco_file
from mmhier.datasets.coco_file import check_coco, take_coco
from tests.datasets.coco_truth import config, truth_ap, write

CASES = (
    Path(os.environ.get('MMHIER_TEST_DATA', Path(__file__).parents[3] / 'shared' / 'data')).parent / 'cases'
)


def change(field, *values):
    """Set a field of all annotations: the values in turn; no value takes it out."""

    def apply(content):
        for index, one in enumerate(content['annotations']):
            if values:
                one[field] = values[index % len(values)]
            else:
                one.pop(field, None)

    return apply


def images(field, value):
    def apply(content):
        for index, one in enumerate(content['images']):
            one[field] = value(index, one) if callable(value) else value

    return apply


def together(*steps):
    def apply(content):
        for step in steps:
            step(content)

    return apply


def without_categories(content):
    del content['categories']


def people_twice(content):
    content['annotations'] += [dict(one, id=one['id'] + 4) for one in content['annotations']]


def text_ids(content):
    for one in content['images']:
        one['id'] = f'{one["id"]}'
    for one in content['annotations']:
        one['image_id'], one['category_id'] = f'0{one["image_id"]}', '1'


def nested(content):
    for one in content['annotations']:
        row = one['keypoints']
        one['keypoints'] = [row[place : place + 3] for place in range(0, len(row), 3)]


def text_numbers(content):
    for one in content['annotations']:
        one['keypoints'] = [str(value) for value in one['keypoints']]
        one['bbox'] = [str(value) for value in one['bbox']]


def unlabelled(value):
    """The last keypoint is not labelled, with this for its coordinates."""

    def apply(content):
        for one in content['annotations']:
            one['keypoints'][-3:] = [value, value, 0]

    return apply


def unlabelled_person(**fields):
    """One more person, of whom nothing is labelled."""

    def apply(content):
        first = content['annotations'][0]
        content['annotations'].append(
            dict(id=99, image_id=first['image_id'], category_id=1, bbox=first['bbox'], **fields)
        )

    return apply


def other_category(content):
    content['categories'].append(dict(id=5, name='ball'))
    content['annotations'].append(dict(id=99, image_id=1, category_id=5, bbox=[1, 1, 9, 9]))


def person(**fields):
    """The first person once more, with other fields."""
    return lambda content: content['annotations'].append(dict(content['annotations'][0], id=99, **fields))


def two_of_nothing(content):
    for number in (98, 99):
        nothing = dict(id=number, keypoints=[0] * 51, num_keypoints=0, bbox=[1, 1, 9, 9])
        content['annotations'].append(content['annotations'][0] | nothing)


def crowds_elsewhere(content):
    for one in content['annotations'][:2]:
        one.update(iscrowd=1, bbox=[90, 110, 5, 5])


REPAIRED = {
    'right': (lambda content: None, ''),
    'ids all 1': (
        change('id', 1),
        'ids of annotations are not unique whole numbers.*entries 1 and 2 have the id 1',
    ),
    'ids restart': (change('id', 1, 2), 'numbered by place .4, first: entries 1 and 3'),
    'ids text': (change('id', 'a', 'b', 'c', 'd'), "entry 1 has the id 'a'"),
    'ids missing': (change('id'), 'entry 1 has the id None'),
    'ids huge': (change('id', 10**30, 2, 3, 4), 'entry 1 has the id 1000'),
    'ids true': (change('id', True, 2, 3, 4), 'entry 1 has the id True'),
    'id 0': (change('id', 0, 1, 2, 3), ''),
    'ids as text': (text_ids, 'ids were read as whole numbers'),
    'image ids 1.0': (images('id', lambda index, one: float(one['id'])), 'whole numbers .4, first: 1.0'),
    'twice': (
        lambda content: content['annotations'].extend(copy.deepcopy(content['annotations'])),
        'annotations listed twice were read once .4, first: id 1, entry 5',
    ),
    'two people in one box': (person(keypoints=[12, 14, 2] * 17), ''),
    'a crowd around a person': (person(iscrowd=1), ''),
    'two of whom nothing is labelled': (two_of_nothing, ''),
    'crowds elsewhere': (crowds_elsewhere, ''),
    'people twice, other ids': (people_twice, 'people listed twice were read once .4, first: annotation 5'),
    'labelled at 0, 0': (
        lambda content: content['annotations'][2]['keypoints'].__setitem__(slice(3, 6), [0, 0, 2]),
        r"at .0, 0.; if that stands for 'not labelled'.*.1, first: annotation 3 .entry 3., number 2",
    ),
    'images twice': (
        lambda content: content['images'].extend(copy.deepcopy(content['images'])),
        'images listed twice',
    ),
    'no categories': (without_categories, 'no categories are listed; 1 was taken for person'),
    'empty categories': (lambda content: content.update(categories=[]), 'no categories are listed'),
    'category 3, unlisted': (
        change('category_id', 3),
        'category_id that is not listed was read as 1 .4, first',
    ),
    'category missing for one': (
        lambda content: content['annotations'][2].pop('category_id'),
        'category_id that is not listed was read as 1 .1, first: annotation 3',
    ),
    'category of a thing, unlisted': (
        lambda content: content['annotations'].append(
            dict(id=99, image_id=1, category_id=5, bbox=[1, 1, 9, 9])
        ),
        '',
    ),
    'categories twice': (
        lambda content: content['categories'].extend(copy.deepcopy(content['categories'])),
        'categories listed twice were read once .1, first: 1',
    ),
    'category missing': (change('category_id'), 'category_id that is not listed was read as 1'),
    'no category anywhere': (together(change('category_id'), without_categories), 'read as 1'),
    'other category': (other_category, ''),
    'player': (
        together(lambda c: c.update(categories=[dict(id=7, name='player')]), change('category_id', 7)),
        '',
    ),
    'area 0': (
        change('area', 0),
        'area is missing, below one pixel or larger .*; 0.53 of the box was taken .4, first: annotation 1',
    ),
    'area missing': (change('area'), 'area is missing'),
    'area -5': (change('area', -5), 'area is missing'),
    'area NaN': (change('area', float('nan')), 'area is missing'),
    'area fraction': (change('area', 0.25), 'area is missing, below one pixel'),
    'area larger than the picture': (change('area', 100 * 120 + 1), 'larger than the picture; 0.53'),
    'area that COCO leaves out': (together(images('width', None), change('area', 2e10)), 'larger than'),
    'area true': (change('area', True), 'area is missing'),
    'area text': (change('area', '3000'), ''),
    'iscrowd missing': (change('iscrowd'), ''),
    'iscrowd text': (change('iscrowd', '0', False, None, 0.0), ''),
    'num_keypoints 0': (
        change('num_keypoints', 0),
        r'counted again .4, first: annotation 1 .entry 1.: 0, not 17',
    ),
    'num_keypoints missing': (change('num_keypoints'), ''),
    'nested': (nested, 'made flat'),
    'text': (text_numbers, 'numbers of keypoints written as text'),
    'NaN, unlabelled': (unlabelled(float('nan')), 'unlabelled keypoints that are not finite were read as 0'),
    'far away, unlabelled': (unlabelled(1e9), ''),
    'null, unlabelled': (unlabelled(None), 'unlabelled keypoints that are not finite'),
    'person without keypoints': (unlabelled_person(), 'annotations without keypoints count as not labelled'),
    'person with empty keypoints': (
        unlabelled_person(keypoints=[], num_keypoints=9),
        'count as not labelled',
    ),
    'backslashes': (
        images('file_name', lambda i, one: f'images\\val\\{one["file_name"]}'),
        'read as slashes',
    ),
    'size as text': (images('width', '100'), 'widths and heights were read as whole numbers'),
    'size missing': (images('width', None), ''),
}
NAMES = {'backslashes': ''}  # of which the pictures lie in the folder itself


@pytest.mark.parametrize('name', REPAIRED)
def test_a_repaired_file_gives_ap_1_and_is_named(folder, content, name, caplog):
    change, line = REPAIRED[name]
    change(content)
    path = write(folder, content)
    assert truth_ap(config(path, folder / NAMES.get(name, 'images/val'))) == 1
    lines = [record.getMessage() for record in caplog.records if record.name == 'mmhier']
    assert len(lines) == len(set(lines)), 'each is said once'
    assert [one for one in lines if one.startswith(str(path))] == lines
    if line:
        assert any(re.search(line, one) for one in lines), lines
    else:
        assert not lines


@pytest.mark.parametrize(
    'name', ['ids all 1', 'no categories', 'category 3, unlisted', 'area 0', 'num_keypoints 0']
)
def test_mmpose_own_data_set_reads_the_same(folder, content, name):
    REPAIRED[name][0](content)
    cfg = config(write(folder, content), folder / 'images' / 'val', 'CocoDataset')
    cfg.val_evaluator.type = 'CocoMetric'
    assert truth_ap(cfg) == 1


@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16'])
def test_every_encoding_of_unicode_is_read(folder, content, encoding):
    path = write(folder, content)
    path.write_text(json.dumps(content), encoding=encoding)
    assert truth_ap(config(path, folder / 'images' / 'val')) == 1


def first_name(content):
    content['images'][1]['file_name'] = content['images'][0]['file_name']


def first_id(content):
    content['images'][1]['id'] = 1


def stray(content):
    content['annotations'][2]['category_id'] = 4


def corners(content):
    for one in content['annotations']:
        x, y, width, height = one['bbox']
        one['bbox'] = [x, y, x + width, y + height]


def fractions(content):
    for one in content['annotations']:
        one['keypoints'] = [
            value / 120 if place % 3 < 2 else value for place, value in enumerate(one['keypoints'])
        ]


def third(**fields):
    return lambda content: content['annotations'][2].update(fields)


def keypoint(*values):
    def apply(content):
        content['annotations'][2]['keypoints'][3:6] = values

    return apply


def image(**fields):
    return lambda content: content['images'][1].update(fields)


def boxes(new):
    def apply(content):
        for one in content['annotations']:
            one['bbox'] = new(*one['bbox'])

    return apply


def keypoints_of_crop(content):
    for one in content['annotations']:
        x, y, width, _ = one['bbox']
        row = one['keypoints']
        row[0::3], row[1::3] = [value - x - width for value in row[0::3]], [value - y for value in row[1::3]]


NOT_IN_BOXES = 'of 4 people have most of their keypoints outside of their bbox .first: annotation'

REFUSED = {
    'image of another number': (
        third(image_id=9),
        r'annotation 3 .entry 3. is of image 9, which is not in the list',
    ),
    'counted from 0': (
        change('image_id', 0, 1, 2, 3),
        r'annotation 1 .* is of image 0.*1 of 4.*count from 0',
    ),
    'image id a word': (image(id='two'), r"images\[1\] has the id 'two', expected a whole number"),
    'image id null': (image(id=None), r'images\[1\] has the id None'),
    'image id true': (image(id=True), r'images\[1\] has the id True, expected a whole number'),
    'image id 1.5': (image(id=1.5), r'images\[1\] has the id 1.5, expected a whole number'),
    'image id huge': (image(id=2**70), r'images\[1\] has the id 1180591620717411303424'),
    'image ids twice': (first_id, r"two images have the id 1, with file_name '000001.png' and '000002.png'"),
    'image twice, other width': (
        lambda c: c['images'].append(dict(c['images'][0], width=99)),
        'two images have the id 1, with width 100 and 99',
    ),
    'image a number': (lambda c: c['images'].insert(1, 5), r'images\[1\] is 5, expected a mapping'),
    'file_name a number': (image(file_name=5), 'image 2 has the file_name 5, expected a path'),
    'file_name empty': (image(file_name=''), "image 2 has the file_name '', expected a path"),
    'file_name missing': (lambda c: c['images'][1].pop('file_name'), 'image 2 has no file_name'),
    'width -3': (image(width=-3), 'image 2 has the width -3'),
    'stray category': (stray, r'annotation 3 .entry 3. has the category_id 4, categories are \[1\]'),
    'two without a list': (
        together(stray, without_categories),
        'annotation 1 .* is of 1, annotation 3 .* of 4',
    ),
    'two unlisted': (change('category_id', 3, 4), 'has the category_id 3, categories are'),
    'one unlisted of two': (
        together(lambda c: c['categories'].append(dict(id=5, name='ball')), change('category_id', 3)),
        r'has the category_id 3, categories are \[1, 5\]',
    ),
    'two categories of one id': (
        lambda c: c['categories'].append(dict(id=1, name='ball')),
        'two categories have the id 1',
    ),
    'categories a mapping': (
        lambda c: c.update(categories={'1': 'person'}),
        'categories is .*expected a list',
    ),
    'annotation a list': (
        lambda c: c['annotations'].insert(0, []),
        r'annotations\[0\] is \[\], expected a mapping',
    ),
    'iscrowd a list': (third(iscrowd=[]), r'annotation 3 .* has the iscrowd \[\], expected 0 or 1'),
    'iscrowd 7': (third(iscrowd=7), 'annotation 3 .* has the iscrowd 7, expected 0 or 1'),
    'visibility 3': (keypoint(5, 5, 3), 'annotation 3 .* has the visibility 3 in keypoints .number 2.'),
    'visibility -1': (keypoint(5, 5, -1), 'annotation 3 .* has the visibility -1'),
    'visibility null': (keypoint(5, 5, None), 'annotation 3 .* has the visibility nan'),
    'NaN': (keypoint(float('nan'), 5, 2), r'annotation 3 .* not a finite number .number 2: \[nan, 5'),
    'far away': (keypoint(1e200, 5, 2), r'annotation 3 .* has the coordinates \[1e\+200, 5.0\] in keypoints'),
    'huge': (keypoint(10**400, 5, 2), 'annotation 3 .* has 1000.* in keypoints, expected a number'),
    'a word': (keypoint('left', 5, 2), "annotation 3 .* has 'left' in keypoints, expected a number"),
    'keypoints short': (
        third(keypoints=[1, 1, 2] * 16),
        'annotation 3 .* has 48 numbers in keypoints, most others 51',
    ),
    'no visibility': (
        change('keypoints', [5, 6] * 17),
        'annotation 1 .* has 34 numbers in keypoints, expected 51',
    ),
    'other number': (change('keypoints', [5, 6, 2] * 14), '42 numbers in keypoints, expected 51 .*metainfo'),
    'feet of two numbers': (
        third(foot_kpts=[1, 2]),
        'annotation 3 .* has 2 numbers in foot_kpts, no multiple of 3',
    ),
    'keypoints text': (
        third(keypoints='5 6 2'),
        "annotation 3 .* has the keypoints '5 6 2', expected a list",
    ),
    'fractions': (fractions, 'seem to be fractions of the picture'),
    'box NaN': (third(bbox=[1, 1, float('nan'), 5]), 'annotation 3 .* has the bbox .*not finite numbers'),
    'box of two': (
        third(bbox=[1, 1]),
        r'annotation 3 .* has the bbox \[1, 1\], expected a list of 4 numbers',
    ),
    'box text': (third(bbox='1,2,3,4'), "annotation 3 .* has the bbox '1,2,3,4', expected a list of 4"),
    'box missing': (lambda c: c['annotations'][2].pop('bbox'), '1 labelled people have no box.*annotation 3'),
    'box without width': (third(bbox=[5, 5, 0, 9]), r'annotation 3 .*\[5, 5, 0, 9\]'),
    'box negative': (third(bbox=[50, 50, -20, 9]), r'annotation 3 .*\[50, 50, -20, 9\]'),
    'box outside': (
        third(bbox=[500, 5, 20, 9]),
        r'no box that covers a part of their picture .first: annotation 3',
    ),
    'box negative everywhere': (
        change('bbox', [50, 50, -20, 9]),
        r'no usable person .4 .*the box of annotation 1 .*\[50, 50, -20, 9\] covers nothing',
    ),
    'boxes as fractions': (boxes(lambda x, y, w, h: [x / 100, y / 120, w / 100, h / 120]), NOT_IN_BOXES),
    'boxes from their centre': (boxes(lambda x, y, w, h: [x + w / 2, y + h / 2, w, h]), NOT_IN_BOXES),
    'half of the boxes elsewhere': (
        lambda c: [one.update(bbox=[90, 110, 5, 5]) for one in c['annotations'][:2]],
        '2 of 4 people have most of their keypoints outside',
    ),
    'keypoints within the box': (keypoints_of_crop, NOT_IN_BOXES),
    'corners': (corners, 'boxes leave their picture .first: annotation .* x1, y1, x2, y2'),
    'nobody': (lambda c: c.update(annotations=[]), 'holds no usable person .0 annotations'),
    'no annotations': (lambda c: c.pop('annotations'), 'holds no usable person .0 annotations at all'),
    'crowds only': (change('iscrowd', 1), 'holds no usable person .4 annotations'),
    'nothing labelled': (change('keypoints', [5, 5, 0] * 17), 'holds no usable person .4 annotations'),
    'no image': (lambda c: c.update(images=[]), 'holds no image'),
    'sizes swapped': (
        together(images('width', 120), images('height', 100)),
        'image 1 is 120 x 100 .width x height., but its picture .*000001.png is 100 x 120. If only width',
    ),
    'other size': (images('width', 200), 'image 1 is 200 x 120 .*scale the labels'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_could_mean_several_things_is_refused_by_entry(folder, content, name):
    change, message = REFUSED[name]
    change(content)
    path = write(folder, content)
    with pytest.raises(ValueError, match=message) as error:
        truth_ap(config(path, folder / 'images' / 'val'))
    assert str(path) in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['[]', '{"images": [', '{}', '5', '{"images": 3}', '[' * 100_000])
def test_other_files_are_named(folder, text):
    path = write(folder, text)
    with pytest.raises(ValueError, match='people.json (holds|is not a (usable )?JSON file)'):
        check_coco(path)


def test_keypoints_of_another_layout_are_left_to_those_who_know_it(folder, content):
    """UBody's are pairs."""
    for one in content['annotations']:
        one['keypoints'] = [[5.0, 6.0]] * 18
    assert take_coco(write(folder, content))['annotations'][0]['keypoints'] == [[5.0, 6.0]] * 18


def test_a_file_is_read_once_for_check_and_use(folder, content, monkeypatch):
    path = write(folder, content)
    reads = []
    original = coco_file.read_large_json
    monkeypatch.setattr(coco_file, 'read_large_json', lambda path: reads.append(path) or original(path))
    first, second = check_coco(path), check_coco(path)
    assert first is second and take_coco(path) is first.content
    assert len(reads) == 1
    assert take_coco(path) is not first.content, 'what has been taken may have been changed since'
    path.write_text(path.read_text() + ' ')
    check_coco(path)
    content['annotations'].pop()
    assert len(check_coco(write(folder, content)).content['annotations']) == 3, 'a changed file is read again'


@pytest.mark.parametrize(
    'path', sorted(CASES.glob('val_*.json')) or [None], ids=lambda path: path and path.stem
)
def test_collected_cases(path):
    """Files kept outside of the repository: AP 1, or one sentence that names the entry."""
    if path is None:
        pytest.skip('the cases are absent; they lie beside the folder that MMHIER_TEST_DATA names')
    cfg = config(path, CASES / 'images')
    if path.stem == 'val_width_height_swapped':
        with pytest.raises(ValueError, match=r'image 1 is 128 x 160 .*00000001.jpg is 160 x 128'):
            truth_ap(cfg)
    else:
        assert truth_ap(cfg) == 1


def test_annotations_are_a_list(folder, content):
    content['annotations'] = dict(enumerate(content['annotations']))
    with pytest.raises(ValueError, match='people.json: annotations is dict, expected a list'):
        check_coco(write(folder, content))


def test_what_repaired_entries_become(folder, content):
    change = together(
        text_ids,
        unlabelled(float('nan')),
        lambda content: content.update(categories=[dict(id='1', name='person')] * 2),
        unlabelled_person(area=float('inf')),
    )
    change(content)
    content['annotations'][4]['bbox'] = [50, 50, -20, -9]
    before = [one['keypoints'][:-3] for one in content['annotations'][:4]]
    found = take_coco(write(folder, content))
    assert [one['id'] for one in found['images']] == [1, 2, 3, 4]
    assert found['categories'] == [dict(id=1, name='person')]
    assert {type(one['category_id']) for one in found['annotations']} == {int}
    assert {one['category_id'] for one in found['annotations']} == {1}
    assert [one['keypoints'] for one in found['annotations'][:4]] == [[*row, 0, 0, 0] for row in before]
    assert found['annotations'][4]['area'] == 0 and found['annotations'][4]['keypoints'] == [0] * 51


def test_ids_as_text_are_one_repair(folder, content, caplog):
    text_ids(content)
    check_coco(write(folder, content))
    (line,) = [record.getMessage() for record in caplog.records]
    assert 'ids were read as whole numbers' in line


def test_the_corner_of_a_picture_is_no_fraction_of_it(folder, content):
    for one in content['annotations']:
        one['keypoints'] = [1, 1, 2] * 17
    assert check_coco(write(folder, content)).people == 4
