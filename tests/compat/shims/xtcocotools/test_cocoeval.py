"""The stand-in for xtcocotools evaluates as pycocotools and (where it can be imported) xtcocotools do."""

import copy
import importlib
import json

import numpy as np
import pytest

from mmhier.compat.shims import xtcocotools as shim_package
from mmhier.compat.shims.xtcocotools.coco import COCO
from mmhier.compat.shims.xtcocotools.cocoeval import COCO_SIGMAS, PARTS, COCOeval

PART_SIZES = {'keypoints': 17, 'foot_kpts': 6, 'face_kpts': 68, 'lefthand_kpts': 21, 'righthand_kpts': 21}


def make_people(seed: int, images: int = 25, parts: bool = False) -> tuple[dict, list[dict]]:
    """Annotations and detections with everything that makes an evaluation different.

    Crowds, persons without labels, missed persons, doubled detections, equal scores, areas of all ranges.
    """
    rng = np.random.default_rng(seed)
    fields = PART_SIZES if parts else {'keypoints': 17}
    data = {'images': [], 'annotations': [], 'categories': [{'id': 1, 'name': 'person'}]}
    detections = []
    for image_id in range(1, images + 1):
        data['images'].append(
            {'id': image_id, 'width': 640, 'height': 480, 'crowdIndex': float(rng.random())}
        )
        for _ in range(rng.integers(0, 5)):
            x, y, w, h = rng.uniform(0, 300), rng.uniform(0, 200), rng.uniform(20, 300), rng.uniform(20, 250)
            person = {
                'id': len(data['annotations']) + 1,
                'image_id': image_id,
                'category_id': 1,
                'bbox': [x, y, w, h],
                'area': w * h * rng.uniform(0.3, 0.7),
                'iscrowd': int(rng.random() < 0.1),
            }
            labelled = rng.random() > 0.15
            for field, count in fields.items():
                points = np.stack([rng.uniform(x, x + w, count), rng.uniform(y, y + h, count)], axis=1)
                flags = rng.integers(0, 3, count) * labelled
                person[field] = np.column_stack([points, flags]).ravel().tolist()
            person['num_keypoints'] = int(np.count_nonzero(person['keypoints'][2::3]))
            data['annotations'].append(person)
            for _ in range(rng.choice([0, 1, 1, 1, 2])):
                found = {'image_id': image_id, 'category_id': 1, 'score': round(float(rng.random()), 1)}
                for field in fields:
                    points = np.reshape(person[field], (-1, 3))[:, :2]
                    points = points + rng.normal(size=points.shape) * rng.choice([1, 5, 20])
                    found[field] = (
                        np.column_stack([points, rng.uniform(0.1, 1, len(points))]).ravel().tolist()
                    )
                    found[PARTS_SCORE[field]] = (
                        float(rng.random()) if field != 'keypoints' else found['score']
                    )
                if parts and rng.random() > 0.1:
                    found['wholebody_score'] = float(rng.random())
                detections.append(found)
    return data, detections


PARTS_SCORE = {fields[0]: score for fields, score in PARTS.values() if len(fields) == 1}


def evaluate(package: str, data: dict, detections: list[dict], folder, *args, **kwargs) -> np.ndarray:
    """Statistics from any package with the interface of pycocotools."""
    coco_module = importlib.import_module(f'{package}.coco')
    eval_module = importlib.import_module(f'{package}.cocoeval')
    paths = folder / f'{package}_gt.json', folder / f'{package}_dt.json'
    for path, content in zip(paths, (data, detections)):
        path.write_text(json.dumps(content))
    annotations = coco_module.COCO(str(paths[0]))
    evaluator = eval_module.COCOeval(annotations, annotations.loadRes(str(paths[1])), *args, **kwargs)
    evaluator.params.useSegm = None
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    return np.asarray(evaluator.stats)


SHIM = shim_package.__name__


@pytest.fixture(scope='module')
def real_xtcocotools() -> str:
    package = importlib.import_module('xtcocotools')
    if package.__path__ == shim_package.__path__:
        pytest.skip(
            'xtcocotools is absent or broken here (it has wheels for Python <= 3.11 and numpy 1 only)'
        )
    return 'xtcocotools'


@pytest.mark.parametrize('seed', range(3))
def test_keypoints_equal_pycocotools(tmp_path, seed):
    data, detections = make_people(seed)
    ours = evaluate(SHIM, data, detections, tmp_path, 'keypoints')
    reference = evaluate('pycocotools', data, detections, tmp_path, 'keypoints')
    assert len(ours) == len(reference) == 10 and 0.05 < ours[0] < 0.95
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize('seed', range(2))
def test_boxes_equal_pycocotools(tmp_path, seed):
    data, _ = make_people(seed)
    rng = np.random.default_rng(seed)
    detections = [
        {
            'image_id': person['image_id'],
            'category_id': 1,
            'bbox': (np.array(person['bbox']) + rng.normal(size=4)).tolist(),
            'score': float(rng.random()),
        }
        for person in data['annotations']
    ]
    ours = evaluate(SHIM, data, detections, tmp_path, 'bbox')
    reference = evaluate('pycocotools', data, detections, tmp_path, 'bbox')
    assert len(ours) == 12
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize('use_area', [True, False])
@pytest.mark.parametrize('kind', PARTS)
def test_every_kind_equals_xtcocotools(tmp_path, real_xtcocotools, kind, use_area):
    data, detections = make_people(5, parts=True)
    detections[0]['keypoints'][2::3] = [0] * 17
    for row in detections[:20:3]:
        row.pop('face_score', None)
    sigmas = np.random.default_rng(0).uniform(0.03, 0.1, sum(PART_SIZES[field] for field in PARTS[kind][0]))
    ours = evaluate(SHIM, data, detections, tmp_path, kind, sigmas, use_area)
    reference = evaluate(real_xtcocotools, data, detections, tmp_path, kind, sigmas, use_area=use_area)
    assert ours.shape == reference.shape and 0 < ours[0] < 1
    np.testing.assert_allclose(ours, reference, rtol=0, atol=1e-12)


@pytest.mark.parametrize('kind', [kind for kind in PARTS if kind != 'keypoints_crowd'])
def test_a_part_is_evaluated_as_a_body_of_its_own(tmp_path, kind):
    """Moving a part's keypoints and score to where the body's are must not change anything."""
    data, detections = make_people(6, parts=True)
    fields, score = PARTS[kind]
    sigmas = np.full(sum(PART_SIZES[field] for field in fields), 0.05)
    moved, moved_detections = copy.deepcopy((data, detections))
    for row in moved['annotations']:
        row['keypoints'] = [value for field in fields for value in row[field]]
        row['num_keypoints'] = int(np.count_nonzero(np.array(row['keypoints'])[2::3]))
    for row in moved_detections:
        row['keypoints'] = [value for field in fields for value in row[field]]
        row['score'] = row.get(score, row['score'])
    for row in detections + moved_detections:  # pycocotools takes areas from what it finds first
        row['bbox'] = [0, 0, 50, 50]
    ours = evaluate(SHIM, data, detections, tmp_path, kind, sigmas)

    from pycocotools.coco import COCO as PyCOCO
    from pycocotools.cocoeval import COCOeval as PyCOCOeval

    (tmp_path / 'moved.json').write_text(json.dumps(moved))
    (tmp_path / 'moved_dt.json').write_text(json.dumps(moved_detections))
    annotations = PyCOCO(str(tmp_path / 'moved.json'))
    reference = PyCOCOeval(annotations, annotations.loadRes(str(tmp_path / 'moved_dt.json')), 'keypoints')
    reference.params.kpt_oks_sigmas = sigmas
    reference.evaluate()
    reference.accumulate()
    reference.summarize()
    np.testing.assert_allclose(ours, reference.stats, rtol=0, atol=1e-12)


def one_person(offset: float) -> tuple[dict, list[dict]]:
    """A person with one labelled keypoint, the nose, found ``offset`` pixels beside."""
    keypoints, found = [0.0] * 51, [0.0] * 51
    keypoints[:3] = [50, 50, 2]
    found[:3] = [50 + offset, 50, 1]
    person = {
        'id': 0,
        'image_id': 7,
        'category_id': 1,
        'bbox': [0, 0, 100, 100],
        'area': 5000.0,
        'iscrowd': 0,
    }
    person |= {'keypoints': keypoints, 'num_keypoints': 1}
    image = {'id': 7, 'width': 200, 'height': 200, 'crowdIndex': 0.5}
    data = {'images': [image], 'annotations': [person], 'categories': [{'id': 1, 'name': 'person'}]}
    return data, [{'image_id': 7, 'category_id': 1, 'keypoints': found, 'score': 0.5}]


@pytest.mark.parametrize(('oks', 'thresholds_met'), [(1.0, 10), (0.76, 6), (0.51, 1), (0.49, 0)])
def test_hand_checked_oks(tmp_path, oks, thresholds_met):
    """One detection at distance d has OKS exp(-d^2 / (2 s^2 (2 sigma)^2)) and meets the thresholds below it.

    The annotation's id is 0, which pycocotools would take for "no match".
    """
    sigma, area = COCO_SIGMAS[0], 5000
    distance = np.sqrt(-2 * area * (2 * sigma) ** 2 * np.log(oks))
    stats = evaluate(SHIM, *one_person(float(distance)), tmp_path, 'keypoints')
    assert stats[0] == stats[5] == pytest.approx(thresholds_met / 10)


@pytest.mark.parametrize(('oks', 'precision'), [(0.501, 0.1), (0.499, 0.0)])
def test_hand_checked_area_from_the_box(tmp_path, oks, precision):
    """Without areas, 0.53 of the 100 x 100 box: 5300 instead of 5000 square pixels."""
    distance = float(np.sqrt(-2 * 5300 * (2 * COCO_SIGMAS[0]) ** 2 * np.log(oks)))
    data, detections = one_person(distance)
    with_area = evaluate(SHIM, data, detections, tmp_path, 'keypoints', None, True)
    del data['annotations'][0]['area']
    without = evaluate(SHIM, data, detections, tmp_path, 'keypoints', None, False)
    assert with_area[0] == 0 and without[0] == pytest.approx(precision)
    # When the file is read, by the name that others import it under.
    filled = evaluate('xtcocotools', data, detections, tmp_path, 'keypoints', None, True)
    assert filled[0] == without[0]


def test_crowd_levels(tmp_path):
    """One medium image, found exactly: AP 1 there, -1 (absent) on easy and hard images."""
    stats = evaluate(SHIM, *one_person(0.0), tmp_path, 'keypoints_crowd')
    assert stats.tolist() == [1, 1, 1, 1, 1, 1, -1, 1, -1]


def test_a_detection_without_scores_is_left_out(tmp_path):
    data, detections = one_person(0.0)
    detections[0]['keypoints'][2] = 0
    assert evaluate(SHIM, data, detections, tmp_path, 'keypoints')[0] == 0


def test_bad_use_is_told(tmp_path):
    with pytest.raises(ValueError, match='keypoints_tail'):
        COCOeval(None, None, 'keypoints_tail')
    data, detections = one_person(0.0)
    del data['images'][0]['crowdIndex']
    with pytest.raises(ValueError, match="image 7 .* has no 'crowdIndex'"):
        evaluate(SHIM, data, detections, tmp_path, 'keypoints_crowd')
    annotations = COCO(ann_data=data)
    with pytest.raises(RuntimeError, match='evaluate'):
        COCOeval(annotations, annotations.loadRes(detections)).accumulate()
