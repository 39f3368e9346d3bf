import json

import cv2
import numpy as np
import pytest

from mmhier.body_models.skinning import pose_body
from mmhier.datasets.synthetic.dataset_format import SMPL_SHAPES


@pytest.fixture(scope='module', params=['train', 'val'])
def split(request, data_set):
    coco = json.loads((data_set / 'annotations' / f'person_keypoints_{request.param}.json').read_text())
    with np.load(data_set / 'annotations' / f'smpl_{request.param}.npz', allow_pickle=False) as file:
        smpl = {name: file[name] for name in file.files}
    return request.param, coco, smpl


def test_images_are_there_and_have_the_stated_size(data_set, split):
    name, coco, _ = split
    assert len(coco['images']) == {'train': 36, 'val': 8}[name]
    files = sorted(path.name for path in (data_set / 'images' / name).iterdir())
    assert files == [image['file_name'] for image in coco['images']]
    for image in coco['images']:
        pixels = cv2.imread(str(data_set / 'images' / name / image['file_name']))
        assert pixels.shape == (image['height'], image['width'], 3) == (128, 160, 3)


def test_annotations_are_consistent(split):
    _, coco, _ = split
    assert [a['id'] for a in coco['annotations']] == list(range(1, len(coco['annotations']) + 1))
    assert coco['annotations']
    for annotation in coco['annotations']:
        keypoints = np.array(annotation['keypoints']).reshape(17, 3)
        x, y, w, h = annotation['bbox']
        assert annotation['num_keypoints'] == (keypoints[:, 2] > 0).sum()
        assert set(keypoints[:, 2]) <= {0, 1, 2}
        labelled = keypoints[keypoints[:, 2] > 0, :2]
        assert (labelled >= -0.5).all()
        assert (labelled <= [159.5, 127.5]).all()
        assert x >= 0 and y >= 0 and x + w <= 160 and y + h <= 128
        assert 0 < annotation['area'] <= w * h


def test_smpl_rows_match_the_annotations(split):
    _, coco, smpl = split
    count = len(coco['annotations'])
    assert smpl['annotation_id'].tolist() == [a['id'] for a in coco['annotations']]
    assert smpl['image_id'].tolist() == [a['image_id'] for a in coco['annotations']]
    for name, shape in SMPL_SHAPES.items():
        assert smpl[name].shape == (count, *shape), name
        assert smpl[name].dtype == np.float32, name
        assert np.isfinite(smpl[name]).all(), name


def test_projected_joints_are_the_keypoints(split):
    _, coco, smpl = split
    projected = np.einsum('nij,nkj->nki', smpl['K'], smpl['coco17_3d'])
    projected = projected[..., :2] / projected[..., 2:]
    np.testing.assert_allclose(projected, smpl['coco17_2d'][..., :2], rtol=1e-4, atol=0.02)
    keypoints = np.array([a['keypoints'] for a in coco['annotations']]).reshape(-1, 17, 3)
    np.testing.assert_array_equal(keypoints[..., 2], smpl['coco17_2d'][..., 2])
    labelled = keypoints[..., 2] > 0
    np.testing.assert_allclose(keypoints[labelled][:, :2], projected[labelled], atol=0.03)


def test_smpl_parameters_reproduce_joints_and_keypoints(split, kit):
    _, _, smpl = split
    pose = np.concatenate([smpl['global_orient'], smpl['body_pose']], axis=1).reshape(-1, 24, 3)
    posed = pose_body(kit.model, pose, smpl['betas'], smpl['transl'])
    np.testing.assert_allclose(posed.joints, smpl['joints3d'], atol=1e-4)
    points = np.concatenate([posed.vertices, posed.joints], axis=1)
    np.testing.assert_allclose(kit.model.coco17_regressor @ points, smpl['coco17_3d'], atol=1e-4)
    assert (smpl['joints3d'][..., 2].mean(axis=1) > 0.5).all()


@pytest.mark.parametrize('package', ['pycocotools', 'faster_coco_eval'])
def test_coco_readers_load_it_and_score_the_truth_as_perfect(data_set, split, package, capsys):
    if package == 'pycocotools':
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval as Evaluator
    else:
        faster = pytest.importorskip('faster_coco_eval')
        COCO, Evaluator = faster.COCO, faster.COCOeval_faster
    name, annotations, _ = split
    coco = COCO(str(data_set / 'annotations' / f'person_keypoints_{name}.json'))
    assert len(coco.getAnnIds()) == len(annotations['annotations'])
    assert coco.loadCats(1)[0]['keypoints'][0] == 'nose'
    results = [
        {'image_id': a['image_id'], 'category_id': 1, 'keypoints': a['keypoints'], 'score': 1.0}
        for a in annotations['annotations']
    ]
    evaluator = Evaluator(coco, coco.loadRes(results), 'keypoints')
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
    assert evaluator.stats[0] > 0.99


def test_states_its_licence(split):
    _, coco, _ = split
    assert coco['licenses'][0]['name'].startswith('CC0')
    assert 'CC0' in coco['info']['licence']
