"""SMPL's 24 joints against bodies of the annotated gender, from the rows of the data set's file."""

import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import joint_set
from mmhier.body_models.model_directory import load_body_model
from mmhier.evaluation.functional.mesh import mpjpe, pa_mpjpe, pve, relative_to_joint
from mmhier.evaluation.metrics.smpl_body_metric import SmplBodyMetric
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.testing.benchmark_files import write_small_body

HIPS = ['left_hip', 'right_hip']
PROTOCOL = dict(measures=['joints', 'mesh'], joints='smpl24', root=HIPS, gender='as annotated', phi=False)
COUNT = 4


@pytest.fixture
def bodies(tmp_path):
    genders = ('male', 'female', 'neutral')
    return {g: str(write_small_body(tmp_path / f'{g}.npz', seed)) for seed, g in enumerate(genders)}


@pytest.fixture
def truth(tmp_path):
    rng = np.random.default_rng(0)
    return dict(
        body_pose=rng.normal(0, 0.3, (COUNT, 72)).astype(np.float32),
        betas=rng.normal(size=(COUNT, 10)).astype(np.float32),
        gender=np.array(['male', 'female', 'neutral', 'male']),
    )


@pytest.fixture
def make(tmp_path, bodies, truth):
    def metric(changes=None, datasets=None, files=('emdb',), **more):
        fields = truth | (changes or {})
        path = str(tmp_path / 'emdb.npz')
        np.savez(path, **{name: value for name, value in fields.items() if value is not None})
        arguments = dict(body_model=bodies['neutral'], bodies=bodies) | more
        return SmplBodyMetric(datasets or dict(emdb=PROTOCOL), {name: path for name in files}, **arguments)

    return metric


def samples(bodies, truth, pose=None, betas=None):
    """Predictions by the neutral body, as a model makes them, in another order than the file's."""
    pose, betas = (truth['body_pose'] if pose is None else pose), truth['betas'] if betas is None else betas
    body = load_body_model(bodies['neutral'], 'hmr44')
    made = []
    for row in (2, 0, 3, 1):
        matrices = axis_angle_to_matrix(torch.from_numpy(pose[row].reshape(1, 24, 3)))
        parameters = dict(
            global_orient=matrices[:, :1], body_pose=matrices[:, 1:], betas=torch.from_numpy(betas[[row]])
        )
        out = body(**parameters)
        predicted = dict(parameters, vertices=out.vertices.numpy(), keypoints_3d=out.joints.numpy())
        made.append(dict(dataset_name='emdb', sample_key=f'P0/a#b/{row}.jpg#{row}', pred_instances=predicted))
    return made


def test_neutral_truth_is_met_exactly(make, bodies, truth):
    metric = make(dict(gender=np.array(['neutral'] * COUNT)))
    metric.process({}, samples(bodies, truth))
    scores = metric.evaluate(COUNT)
    assert max(scores[f'mesh/{name}'] for name in ('MPJPE', 'PA-MPJPE', 'PVE')) < 1e-3
    assert scores['mesh/MPJPE of the mean pose'] > 10
    assert not [name for name in scores if 'Phi' in name]


def test_truth_is_of_the_annotated_gender(make, bodies, truth):
    metric = make()
    made = samples(bodies, truth)
    metric.process({}, made[:2])
    metric.process({}, made[2:])
    scores = metric.evaluate(COUNT)
    roots = joint_set('smpl24').indices(HIPS)
    errors = []
    for row, gender in enumerate(truth['gender']):
        pose, betas = (torch.from_numpy(truth[name][[row]]) for name in ('body_pose', 'betas'))
        both = [
            load_body_model(bodies[g], 'smpl24')(betas, pose[:, 3:], pose[:, :3]) for g in ('neutral', gender)
        ]
        joints = [relative_to_joint(out.joints, out.joints, roots) for out in both]
        vertices = [relative_to_joint(out.vertices, out.joints, roots) for out in both]
        errors.append([float(mpjpe(*joints)), float(pa_mpjpe(*joints)), float(pve(*vertices))])
    expected = np.mean(errors, 0)
    assert (expected > 10).all()
    found = [scores[f'mesh/{name}'] for name in ('MPJPE', 'PA-MPJPE', 'PVE')]
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_middle_of_the_hips_is_the_root(make, bodies, truth):
    """A body that is moved as a whole has no error; by hand: all joints but the hips 10 mm off."""
    metric = make(dict(gender=np.array(['neutral'] * COUNT)))
    made = samples(bodies, truth)
    for sample in made:
        sample['pred_instances']['vertices'] = sample['pred_instances']['vertices'] + [0, 0.003, 0.004]
    metric.process({}, made)
    assert metric.evaluate(COUNT)['mesh/PVE'] == pytest.approx(5, abs=1e-3)


def test_a_prediction_that_is_not_finite_shows(make, bodies, truth):
    pose = truth['body_pose'].copy()
    pose[1, 7] = np.nan
    metric = make()
    metric.process({}, samples(bodies, truth, pose=pose))
    assert np.isnan(metric.evaluate(COUNT)['mesh/MPJPE'])


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (dict(changes=dict(gender=None)), 'has no gender; make it with'),
        (dict(changes=dict(betas=np.ones((COUNT, 9)))), r'betas is \(4, 9\); expected \(4, 10\)'),
        (dict(changes=dict(body_pose=np.full((COUNT, 72), np.nan))), 'all finite'),
        (dict(files=()), 'each data set needs its file'),
        (dict(datasets=dict(emdb=PROTOCOL | dict(measures=['image']))), 'for .image. use MeshMetric'),
        (dict(datasets=dict(emdb=PROTOCOL | dict(joints='lsp14'))), 'has joints that smpl24 has not'),
    ],
)
def test_malformed_arguments_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_samples_of_other_files_are_refused(make, bodies, truth):
    metric = make()
    sample = samples(bodies, truth)[0]
    for key in ('x.jpg#4', 'x.jpg', None):
        with pytest.raises(ValueError, match='names none of the 4 rows'):
            metric.process({}, [sample | dict(sample_key=key)])
    with pytest.raises(ValueError, match="is of the data set 'other'"):
        metric.process({}, [sample | dict(dataset_name='other')])
