"""The metric of meshes: numbers that can be worked out by hand, and what was counted on the way to them."""

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.model_directory import load_body_model
from mmhier.evaluation.functional.mesh import mpjpe, pa_mpjpe, relative_to_joint
from mmhier.evaluation.metrics.mesh_metric import MeshMetric, mean_pose_errors
from mmhier.testing.mesh_samples import random_mesh_samples

HMR44 = joint_set('hmr44')
PELVIS = HMR44.index('pelvis_mpii')
EVERYTHING = dict(measures=['joints', 'mesh', 'image'], boxes='tight')


def samples(count=6, **more):
    """Samples whose predictions are perfect."""
    made = [item['data_samples'] for item in random_mesh_samples(count, **more)]
    body = load_body_model('open', HMR44)
    for sample in made:
        labels = sample.gt_instance_labels
        out = body(*map(torch.from_numpy, (labels.betas, labels.body_pose, labels.global_orient)))
        sample.pred_instances = InstanceData(
            vertices=out.vertices.numpy(),
            keypoints_3d=out.joints.numpy(),
            keypoints=sample.gt_instances.keypoints.copy(),
        )
    return made


def measure(made, datasets=None, **more):
    metric = MeshMetric(datasets or dict(synth=EVERYTHING), **more)
    metric.process({}, [sample.to_dict() for sample in made])
    return metric.evaluate(len(made))


def test_perfect_predictions():
    scores = measure(samples())
    assert scores['mesh/MPJPE'] < 1e-2 and scores['mesh/PA-MPJPE'] < 1e-2 and scores['mesh/PVE'] < 1e-2
    assert scores['mesh/PCK@0.05'] == scores['mesh/PCK@0.1'] == 1
    assert scores['mesh/Phi_M,3D'] == (scores['mesh/MPJPE'] + scores['mesh/PA-MPJPE']) / 2
    assert scores['mesh/Phi_M,2D'] == 1
    assert scores['mesh/MPJPE of the mean pose'] > 10


def test_errors_by_hand():
    """All judged joints 10 mm off, the pelvis not; nothing that a similarity could explain."""
    made = samples(4)
    judged = [HMR44.landmarks.index(name) for name in joint_set('hmr2_eval14').landmarks]
    for sample in made:
        signs = np.random.default_rng(0).choice([-0.01, 0.01], size=len(judged))
        sample.pred_instances.keypoints_3d[0, judged, 0] += signs
        sample.pred_instances.vertices += [0, 0.003, 0.004]
    scores = measure(made)
    assert scores['mesh/MPJPE'] == pytest.approx(10, abs=1e-2)
    assert 5 < scores['mesh/PA-MPJPE'] < 10
    assert scores['mesh/PVE'] == pytest.approx(5, abs=1e-2)


def test_a_moved_or_scaled_body():
    """MPJPE and PVE ignore where a body stands, PA-MPJPE how large it is and how it is turned as well."""
    made = samples(3)
    for sample in made:
        for field in ('vertices', 'keypoints_3d'):
            turned = sample.pred_instances[field][..., [1, 0, 2]] * [1, -1, 1]
            sample.pred_instances.set_field(1.5 * turned + [1, 2, 3], field)
    scores = measure(made)
    assert scores['mesh/PA-MPJPE'] < 1e-2 and scores['mesh/MPJPE'] > 100
    made = samples(3)
    for sample in made:
        for field in ('vertices', 'keypoints_3d'):
            sample.pred_instances.set_field(sample.pred_instances[field] + [1, 2, 3], field)
    scores = measure(made)
    assert scores['mesh/MPJPE'] < 1e-2 and scores['mesh/PVE'] < 1e-2


def test_pck_is_relative_to_the_longer_side():
    made = samples(4)
    for sample, part in zip(made, (0.04, 0.06, 0.08, 0.2), strict=True):
        sample.pred_instances.keypoints[..., 1] += part * sample.gt_instances.bbox_scales.max()
    scores = measure(made)
    assert scores['mesh/PCK@0.05'] == 0.25 and scores['mesh/PCK@0.1'] == 0.75


def test_what_is_skipped_is_counted(tmp_path):
    made = samples(5)
    made[0].gt_instance_labels.keypoints_3d[..., 3] = 0
    made[1].gt_instance_labels.keypoints_3d[:, PELVIS] = [9.0, 9, 9, 0]
    made[2].gt_instance_labels.has_betas = np.zeros(1)
    made[3].gt_instances.keypoints_confidence[:] = 0.5
    scores = measure(made, outfile_prefix=f'{tmp_path}/sub/table')
    assert scores['mesh/MPJPE'] < 1e-2
    rows = {row['score']: row for row in json.loads((tmp_path / 'sub' / 'table.json').read_text())}
    counts = {score: (row['samples'], row['skipped']) for score, row in rows.items()}
    assert counts['MPJPE'] == counts['PA-MPJPE'] == (3, 2)
    assert counts['PVE'] == counts['PCK@0.05'] == (4, 1)


def test_a_prediction_that_is_not_finite_is_not_overlooked():
    made = samples(4)
    made[0].pred_instances.keypoints_3d[:] = np.nan
    made[1].pred_instances.keypoints[:] = np.inf
    scores = measure(made)
    assert np.isnan(scores['mesh/MPJPE']) and np.isnan(scores['mesh/PA-MPJPE'])
    assert scores['mesh/PCK@0.1'] == 0.75


def test_one_table_over_several_data_sets(tmp_path):
    datasets = {
        'space': dict(measures=['joints'], gender='male and female'),
        'image': dict(measures=['image'], joints='lsp14', boxes='detected'),
        'extra': dict(measures=['joints'], joints='smpl24', root=['left_hip', 'right_hip'], phi=False),
    }
    datasets['extra']['joints'] = 'openpose25'
    made = [sample for name in datasets for sample in samples(3, dataset_name=name)]
    order = np.random.default_rng(0).permutation(len(made))
    scores = measure([made[i] for i in order], datasets, outfile_prefix=f'{tmp_path}/table')
    assert {'mesh/space/MPJPE', 'mesh/image/PCK@0.05', 'mesh/extra/PA-MPJPE'} < set(scores)
    assert scores['mesh/Phi_M,3D'] < 1e-2
    rows = json.loads((tmp_path / 'table.json').read_text())
    lines = (tmp_path / 'table.md').read_text().splitlines()
    assert len(lines) == len(rows) + 2
    by_name = {(row['dataset'], row['score']): row for row in rows}
    space, image = by_name['space', 'MPJPE'], by_name['image', 'PCK@0.1']
    assert space['joints'] == 'hmr2_eval14 (14)' and space['root'] == 'pelvis_mpii'
    assert space['gender'] == 'male and female' and space['unit'] == 'mm'
    assert image['joints'] == 'lsp14 (14)' and image['boxes'] == 'detected'
    assert by_name['extra', 'MPJPE']['root'] == 'mean of left_hip, right_hip'
    assert by_name['all', 'Phi_M,3D']['joints'] == 'mean over space'
    assert all('joints of mmhier open body' in row['regressor'] for row in rows if row['dataset'] != 'all')


def test_batches_make_no_difference():
    made = samples(5)
    for index, sample in enumerate(made):
        sample.pred_instances.keypoints_3d += np.random.default_rng(index).normal(0, 0.05, (1, 44, 3))
    metric = MeshMetric(dict(synth=EVERYTHING))
    for sample in copy.deepcopy(made):
        metric.process({}, [sample.to_dict()])
    assert metric.evaluate(5) == measure(made)


def test_mean_pose():
    """Two bodies, one of which is the other moved by d at each joint: the mean is d / 2 from both."""
    cloud = torch.randn(1, 14, 3)
    targets = torch.cat([cloud, cloud + torch.tensor([0.03, 0.0, 0.04])])
    assert mean_pose_errors(targets)['MPJPE'] == pytest.approx(25, rel=1e-5)
    assert mean_pose_errors(targets)['PA-MPJPE'] == pytest.approx(0, abs=1e-3)
    targets[1, 0] = torch.nan
    assert mean_pose_errors(targets)['MPJPE'] == pytest.approx(25 / 2 * (1 + 13 / 13) * 13.5 / 14, rel=0.05)


def test_no_constant_is_better_than_the_mean_pose():
    made = samples(40)
    joints = torch.from_numpy(
        np.concatenate([sample.gt_instance_labels.keypoints_3d[..., :3] for sample in made])
    )
    targets = relative_to_joint(joints, joints, PELVIS)[:, 25:39]
    found = mean_pose_errors(targets)
    for candidate in targets[:10]:
        constant = candidate.expand_as(targets)
        assert mpjpe(constant, targets).mean() > found['MPJPE']
        assert pa_mpjpe(constant, targets).mean() > found['PA-MPJPE']


@pytest.mark.parametrize(
    ('datasets', 'message'),
    [
        (dict(synth=dict(measures=['smell'])), 'measures must be some of'),
        (dict(synth=dict(metric='x')), 'unknown fields'),
        (dict(synth=dict(root='tail')), 'no joint "tail"'),
        (dict(synth=dict(joints='h36m17')), 'has joints that hmr44 has not'),
        (dict(other={}), "protocols of \\['other'\\]"),
        (dict(synth={}, other={}), "no sample of 'other'"),
    ],
)
def test_errors_name_the_value(datasets, message):
    with pytest.raises(ValueError, match=message):
        measure(samples(1), datasets)


def test_a_data_set_without_ground_truth_is_an_error():
    made = samples(2)
    for sample in made:
        sample.gt_instance_labels.has_body_pose = np.zeros(1)
    with pytest.raises(ValueError, match="no sample of the data set 'synth' has ground truth for 'mesh'"):
        measure(made)
