"""Files written from bodies: joints are the body's, pixels the camera's, and they come back as written."""

import numpy as np
import pytest
import torch

from mmhier.body_models.model_directory import load_body_model
from mmhier.datasets.mesh import MeshNpzDataset
from mmhier.datasets.mesh.writer import convert_synthetic, people_from_bodies, write_people
from mmhier.datasets.synthetic.dataset_format import (
    SMPL_SHAPES,
    annotation_record,
    image_record,
    smpl_record,
    write_split,
)
from mmhier.testing.mesh_data import draw_image, encode

INTRINSICS = np.array([[300.0, 0, 80], [0, 300, 60], [0, 0, 1]])


@pytest.fixture(scope='module')
def body():
    return load_body_model('open', 'hmr44')


@pytest.fixture(scope='module')
def bodies():
    rng = np.random.default_rng(0)
    return dict(
        global_orient=np.array([[np.pi, 0, 0], [3.0, 0.2, 0.1]]),
        body_pose=rng.normal(0, 0.2, (2, 69)),
        betas=rng.normal(size=(2, 10)),
        transl=np.array([[0.1, 1.0, 6.0], [0.4, 0.1, 5.0]]),
        intrinsics=np.stack([INTRINSICS] * 2),
        image_wh=np.array([[160, 120]] * 2),
    )


def test_joints_are_those_of_the_body(body, bodies):
    fields = people_from_bodies(body, **bodies)
    arguments = {
        name: torch.from_numpy(bodies[name]).float()
        for name in ('global_orient', 'body_pose', 'betas', 'transl')
    }
    joints = body(**arguments).joints.numpy()
    both = np.concatenate([fields['body_keypoints_3d'], fields['extra_keypoints_3d']], 1)
    np.testing.assert_allclose(both[..., :3], joints, atol=1e-5)
    flat = np.concatenate([fields['body_keypoints_2d'], fields['extra_keypoints_2d']], 1)
    inside = flat[..., 2] > 0
    assert inside.any()
    assert not inside.all()  # feet are below the image
    expected = 300 * joints[..., :2] / joints[..., 2:] + [80, 60]
    np.testing.assert_allclose(flat[inside][:, :2], expected[inside], rtol=1e-4)
    assert ((expected[~inside] < 0) | (expected[~inside] > [159, 119])).any(-1).all()


def test_nobody_behind_the_camera_is_seen(body, bodies):
    fields = people_from_bodies(body, **(bodies | dict(transl=-bodies['transl'])))
    assert not fields['body_keypoints_2d'].any()


def test_synthetic_people_come_back(body, bodies, tmp_path):
    (tmp_path / 'annotations').mkdir()
    smpl = {name: bodies[name] for name in ('global_orient', 'body_pose', 'betas', 'transl')}
    entries = []
    for number in range(2):
        one = {name: value[number] for name, value in smpl.items()}
        one |= {'joints3d': np.zeros(72), 'coco17_3d': np.zeros(51), 'coco17_2d': np.zeros(51)}
        coco = annotation_record(number + 1, np.ones((17, 3)), [20.0, 30.0, 40.0, 50.0], 100, [])
        people = [dict(coco=coco, smpl=smpl_record(one, INTRINSICS))]
        entries.append(dict(image=image_record(number + 1, f'{number}.jpg', (120, 160)), people=people))
        image = draw_image(np.random.default_rng(number), (120, 160), [])
        (tmp_path / f'{number}.jpg').write_bytes(encode(image))
    write_split(tmp_path / 'annotations', 'val', entries, {})
    write_people(tmp_path / 'mesh_val.npz', **convert_synthetic(tmp_path, 'val', body))
    steps = [dict(type='MeshBox', aspect_wh=None)]
    steps += [dict(type=name) for name in ('LoadMeshImage', 'MeshAffine', 'PackMeshInputs')]
    arguments = dict(test_mode=True, ignore_openpose_3d=False, pipeline=steps)
    dataset = MeshNpzDataset('synthetic', 'mesh_val.npz', '', str(tmp_path), **arguments)
    assert len(dataset) == 2
    sample = dataset[1]['data_samples']
    np.testing.assert_allclose(sample.box_center, [40, 55])
    assert sample.box_size == pytest.approx(60)
    labels = sample.gt_instance_labels
    np.testing.assert_allclose(labels.body_pose[0].ravel(), bodies['body_pose'][1], atol=1e-6)
    np.testing.assert_allclose(labels.global_orient[0, 0], bodies['global_orient'][1], atol=1e-6)
    assert (labels.has_body_pose, labels.has_betas) == (1, 1)
    assert labels.keypoints_3d[..., 3].all()


def test_files_that_do_not_match_are_refused(body, tmp_path):
    (tmp_path / 'annotations').mkdir()
    coco = annotation_record(1, np.ones((17, 3)), [0.0, 0.0, 9.0, 9.0], 9, [])
    empty = {name: np.zeros(shape) for name, shape in SMPL_SHAPES.items()}
    smpl = smpl_record(empty, INTRINSICS)
    entries = [dict(image=image_record(1, 'a.jpg', (9, 9)), people=[dict(coco=coco, smpl=smpl)])]
    write_split(tmp_path / 'annotations', 'val', entries, {})
    path = tmp_path / 'annotations' / 'smpl_val.npz'
    arrays = dict(np.load(path))
    np.savez(path, **(arrays | dict(annotation_id=np.array([7]))))
    with pytest.raises(ValueError, match='do not match'):
        convert_synthetic(tmp_path, 'val', body)


@pytest.mark.parametrize(
    ('boxes', 'fields', 'message'),
    [
        (np.ones((2, 3)), {}, r'bbox_xywh must be \(2, 4\)'),
        (np.ones((2, 4)), dict(pose=np.ones((2, 72))), "unknown field 'pose'"),
        (np.ones((2, 4)), dict(betas=np.ones((2, 11))), r'betas must be \(2, 10\)'),
    ],
)
def test_wrong_shapes_are_refused(tmp_path, boxes, fields, message):
    with pytest.raises(ValueError, match=message):
        write_people(tmp_path / 'x.npz', ['a', 'b'], boxes, fields)
    assert not list(tmp_path.iterdir())
