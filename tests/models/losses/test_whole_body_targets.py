"""Targets of whole bodies: by hand, and a prediction that is the truth has no loss."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from mmhier.body_models.model_directory import load_body_model
from mmhier.geometry.cameras import CROP_FOCAL_LENGTH
from mmhier.mesh_sample import SMPLX_LAYOUT
from mmhier.models.losses import WholeBodyLoss
from mmhier.models.losses.whole_body_targets import JOINTS, cells, whole_body_targets
from mmhier.models.pose_estimators.topdown_mesh import stack_targets
from mmhier.testing.mesh_samples import random_mesh_samples
from mmhier.testing.smplx_file import write_smplx_npz


def labels(batch=1):
    """Everything known and zero."""
    made = {name: torch.zeros(batch, *shape) for name, shape in SMPLX_LAYOUT.label_shapes.items()}
    for name in SMPLX_LAYOUT.keypoint_fields:
        made[f'{name}_confidence'] = torch.ones(made[name].shape[:-1])
        made[name] = made[name][..., :-1]
    for name in made:
        if name.startswith('has_'):
            made[name] = torch.ones(batch)
    return made | dict(fitted_keypoints_3d=torch.zeros(batch, len(JOINTS), 3))


def test_cells_by_hand():
    """The middle of the crop is the middle of the map of 12 x 16; a side of the square has 16 cells."""
    assert cells(torch.zeros(2)).tolist() == [6, 8]
    assert cells(torch.tensor([-0.375, -0.5])).tolist() == [0, 0]
    given = labels()
    nose, tip = JOINTS.index('nose'), JOINTS.index('left_index4')
    given['keypoints_3d'][0, :, 2] = 5.0
    given['keypoints_3d'][0, nose, 2] = 4.75  # a quarter of a metre before the pelvis
    given['keypoints_3d'][0, JOINTS.index('left_wrist'), 2] = 4.5
    given['keypoints_3d'][0, tip, 2] = 4.575  # 7.5 cm behind the wrist
    given['keypoints_2d'][0, nose] = torch.tensor([0.25, -0.25])
    given['part_boxes'][0, 1] = torch.tensor([0.125, 0.0, 0.25, 0.0625])
    made = whole_body_targets(given)
    assert made['points'][0, nose].tolist() == [10, 4, 6]
    torch.testing.assert_close(made['points'][0, tip], torch.tensor([6.0, 8.0, 12.0]))
    assert made['joints_3d'][0, nose].tolist() == [0, 0, -0.25]
    assert made['box_centers'][0, 1].tolist() == [9, 8.5]
    assert made['box_sizes'][0, 1].tolist() == [2, 1]
    # Fingers that stay where the wrist was are half a metre behind it: outside of the hand's grid.
    assert made['points_valid'][0, [nose, tip, JOINTS.index('left_thumb1')]].tolist() == [1, 1, 0]


def test_what_is_unknown_is_not_valid():
    given = labels(3)
    given['keypoints_2d_confidence'][0, 3] = 0
    given['keypoints_2d'][0, 4, 0] = 0.4  # in the square, but not in the input
    given['keypoints_3d_confidence'][1] = 0
    given['has_left_hand_pose'][2] = 0
    given['has_jaw_pose'][0] = 0
    given['part_boxes_confidence'][:, 0] = 0
    made = whole_body_targets(given)
    assert made['points_valid'][0, [3, 4, 5]].tolist() == [0, 0, 1]
    assert made['has_depth'].tolist() == [1, 0, 1]
    assert made['points_valid'][1].all() and not made['joints_3d_valid'][1].any()
    assert not whole_body_targets(given, points_need_depth=True)['points_valid'][1].any()
    assert made['body_joints_3d_valid'][2].sum() == 137 - 20
    assert made['body_joints_3d_valid'][0].sum() == 137 - 72
    assert made['body_points_valid'][2].sum() == 137 - 20
    assert made['pose_valid'].sum(1).tolist() == [156, 159, 159 - 45]
    assert made['box_valid'].tolist() == [[0, 1, 1]] * 3


def test_missing_labels_are_named():
    given = labels()
    del given['has_expression']
    with pytest.raises(ValueError, match=r"\['has_expression'\] are missing"):
        whole_body_targets(given)


def test_the_truth_has_no_loss(tmp_path):
    """Samples, body, camera, grids and losses are of one mind."""
    path = tmp_path / 'body.npz'
    arrays = write_smplx_npz(path, num_vertices=120, num_faces=90)
    arrays['v_template'] *= 0.2  # so that fingers are near their wrists
    np.savez(path, **arrays)
    data = pseudo_collate(random_mesh_samples(3, layout='smplx', body=path))['data_samples']
    truth = stack_targets(data, torch.device('cpu'), SMPLX_LAYOUT)
    body = load_body_model(path, SMPLX_LAYOUT.joints, 10, num_expressions=10, add_hand_means=True)
    names = ('global_orient', *SMPLX_LAYOUT.rotations, *SMPLX_LAYOUT.coefficients)
    joints = body(**{name: truth[name] for name in names}).joints
    targets = whole_body_targets(truth | dict(fitted_keypoints_3d=joints))
    transl = torch.stack([_transl(joints[n], truth['keypoints_2d'][n]) for n in range(3)])
    points = targets['points'][:, :65].clone()
    centers, sizes = targets['box_centers'], targets['box_sizes']
    pixels = torch.cat([(centers - sizes) * 16, (centers + sizes) * 16], 2)
    for start, box in ((25, pixels[:, 0]), (45, pixels[:, 1])):
        hand = points[:, start : start + 20]
        low, high = (box[:, None, :2] / 16, box[:, None, 2:] / 16)
        hand[..., :2] = (hand[..., :2] - low) * 16 / (high - low)
    predicted = dict(
        pose=targets['pose'], betas=truth['betas'], expression=truth['expression'], transl=transl,
        points=points, box_centers=centers, box_sizes=sizes, boxes=pixels, keypoints_3d=joints,
    )  # fmt: skip
    given = truth | dict(fitted_keypoints_3d=joints)
    found = WholeBodyLoss()(predicted, given)
    assert len(found) == 11
    for name, value in found.items():
        # The crop's camera looks at the crop's middle, the one that saw the joints did not: 1/6 of a pixel.
        assert value < (0.02 if name == 'loss_joints_2d' else 2e-3), f'{name} is {value}'
    assert targets['points_valid'][:, :25].any() and targets['points_valid'][:, 25:65].any()
    worse = WholeBodyLoss()(predicted | dict(keypoints_3d=joints * 1.1, points=points + 0.5), given)
    for name in (
        'loss_joints_3d',
        'loss_body_joints_3d',
        'loss_joints_2d',
        'loss_points',
        'loss_body_points',
    ):
        assert worse[name] > 10 * found[name] + 0.01, name


def _transl(joints, seen):
    """Translation (3,) at which joints (K, 3) appear at places (K, 2) of the crop, by least squares."""
    focal = CROP_FOCAL_LENGTH / 256
    x, y, z = joints.double().numpy().T
    u, v = seen.double().numpy().T / focal
    one, zero = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate([np.stack([one, zero, -u], 1), np.stack([zero, one, -v], 1)])
    found = np.linalg.lstsq(rows, np.concatenate([u * z - x, v * z - y]), rcond=None)[0]
    return torch.tensor(found, dtype=torch.float32)
