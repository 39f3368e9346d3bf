"""The metric of whole bodies: numbers that can be worked out by hand, and what was counted on the way."""

import copy
import dataclasses
import json
import pickle

import numpy as np
import pytest
import torch

from mmhier.body_models.model_directory import load_body_data, load_body_model
from mmhier.evaluation.functional.whole_body import whole_body_errors, whole_body_points
from mmhier.evaluation.metrics import WholeBodyMetric
from mmhier.evaluation.metrics.whole_body_metric import FLAGS, PARAMETERS
from mmhier.geometry.rotations import axis_angle_to_matrix
from mmhier.testing.smplx_file import write_smplx_npz

COUNT = 120
PARTS = {'left_hand': range(20), 'right_hand': range(20, 40), 'face': range(40, 70)}
SIZES = dict(
    global_orient=3, body_pose=63, left_hand_pose=45, right_hand_pose=45, jaw_pose=3, betas=10, expression=10
)


@pytest.fixture(scope='module')
def body_file(tmp_path_factory):
    path = tmp_path_factory.mktemp('body') / 'body.npz'
    write_smplx_npz(path, num_vertices=COUNT, num_faces=100)
    return str(path)


@pytest.fixture(scope='module')
def points(body_file):
    data = load_body_data(body_file)
    parts = {part: np.array(rows) for part, rows in PARTS.items()}
    j14 = np.eye(COUNT, dtype=np.float32)[:14]
    return whole_body_points(
        dataclasses.replace(data, parts=parts, regressors=data.regressors | {'j14': j14})
    )


@pytest.fixture(scope='module')
def perfect(body_file):
    """Samples whose predictions are perfect, as metrics get them."""
    generator = torch.Generator().manual_seed(0)
    body = load_body_model(body_file, 'smplx55', add_hand_means=True)
    samples = []
    for number in range(5):
        labels = {name: 0.3 * torch.randn(1, size, generator=generator) for name, size in SIZES.items()}
        vertices = body(**labels).vertices.numpy()
        flags = {flag: torch.ones(1) for flags in FLAGS.values() for flag in flags}
        pixels = 100 * number + 50 * np.random.default_rng(number).random((1, 137, 2))
        samples.append(
            dict(
                dataset_name='one',
                sample_key=f'{number}.jpg',
                img_path=f'{number // 2}.jpg',
                ori_shape=(240, 320),
                gt_instance_labels=labels | flags,
                gt_instances=dict(keypoints=pixels),
                pred_instances=dict(vertices=vertices, keypoints=pixels.copy()),
            )
        )
    return samples


@pytest.fixture
def samples(perfect):
    return copy.deepcopy(perfect)


@pytest.fixture
def measure(body_file, points):
    def run(samples, datasets=None, **more):
        metric = WholeBodyMetric(datasets or dict(one=dict()), body_model=body_file, **more)
        metric._points = points
        metric.process({}, samples)
        return metric.evaluate(len(samples))

    return run


def test_perfect_predictions(measure, samples):
    scores = measure(samples)
    names = ('PVE', 'PVE hands', 'PVE face', 'MPJPE body', 'MPJPE hands')
    for name in names:
        assert scores[f'whole_body/{name}'] < 1e-2 and scores[f'whole_body/PA-{name}'] < 1e-2
    for name in ('PVE', 'PA-PVE', 'PVE hands', 'PA-PVE face'):
        assert scores[f'whole_body/{name} of the mean pose'] > 10
    assert 'whole_body/MPE' not in scores


def test_means_over_people_of_what_is_measured(measure, samples, points):
    noise = np.random.default_rng(0).normal(0, 0.01, (5, 1, COUNT, 3)).astype(np.float32)
    for sample, change in zip(samples, noise, strict=True):
        sample['pred_instances']['vertices'] += change
    scores = measure(samples)
    truth = torch.cat([torch.from_numpy(sample['pred_instances']['vertices']) for sample in samples])
    errors = whole_body_errors(truth, truth - torch.from_numpy(noise[:, 0]), points)
    assert len(errors) == 10
    for name, value in errors.items():
        assert scores[f'whole_body/{name}'] == pytest.approx(value.mean().item(), abs=1e-2)


def test_what_is_skipped_is_counted(measure, samples, tmp_path):
    """A person without shape is not judged; without a hand, the body's joints and the face are."""
    samples[0]['gt_instance_labels']['has_betas'][:] = 0
    samples[1]['gt_instance_labels']['has_left_hand_pose'][:] = 0
    samples[2]['gt_instance_labels']['has_expression'][:] = 0
    measure(samples, outfile_prefix=f'{tmp_path}/table')
    rows = {row['score']: row for row in json.loads((tmp_path / 'table.json').read_text())}
    counts = {score: (row['samples'], row['skipped']) for score, row in rows.items()}
    assert counts['PVE'] == counts['PA-PVE'] == (2, 3)
    assert counts['PVE hands'] == counts['MPJPE hands'] == (3, 2)
    assert counts['PVE face'] == (3, 2) and counts['MPJPE body'] == (4, 1)
    table = (tmp_path / 'table.md').read_text()
    assert '120 vertices' in table and '40 vertices of the hands' in table and 'wrists' in table


def test_prediction_that_is_not_finite_is_not_overlooked(measure, samples):
    samples[3]['pred_instances']['vertices'][0, 3] = np.nan
    scores = measure(samples)
    assert np.isnan(scores['whole_body/PVE']) and np.isnan(scores['whole_body/PA-PVE hands'])
    assert scores['whole_body/PA-PVE face'] < 1e-2


def test_true_vertices_are_taken_where_there_are(measure, samples):
    """As of EHF: no parameters are read."""
    for sample in samples:
        sample['gt_instances']['vertices'] = sample['pred_instances']['vertices'] + [0, 0, 0.5]
        sample['gt_instance_labels'] = {}
    scores = measure(samples)
    assert scores['whole_body/PVE'] < 1e-2 and scores['whole_body/MPJPE body'] < 1e-2


def test_inside_of_the_image(measure, samples, points, tmp_path):
    """By the true body and its camera; a person who is outside of it as a whole is skipped."""
    for sample in samples:
        sample['gt_instances'] |= dict(
            transl=np.array([[0, 0, 9.0]]), camera_intrinsics=[[100, 100, 160, 120]]
        )
        sample['pred_instances']['vertices'][0, 5] += 1
    samples[4]['gt_instances']['transl'][0, 0] = 100
    inside = dict(one=dict(measures=['mesh'], inside=True))
    assert measure(samples[:4], inside)['whole_body/PVE'] > 1
    scores = measure(samples, inside, outfile_prefix=f'{tmp_path}/t')
    assert scores['whole_body/PVE'] == pytest.approx(measure(samples[:4], inside)['whole_body/PVE'])
    assert (tmp_path / 't.md').read_text().count('inside of the image') == 6
    del samples[0]['gt_instances']['camera_intrinsics']
    with pytest.raises(ValueError, match='0.jpg: inside=True needs camera_intrinsics'):
        measure(samples, inside)


def test_skeleton_of_smpl(measure, samples, points):
    for sample in samples:
        vertices = torch.from_numpy(sample['pred_instances']['vertices'])
        sample['gt_instances']['skeleton'] = (points.skeleton[:24] @ vertices + 3).numpy()
    scores = measure(samples, dict(one=dict(measures=['skeleton'], primary='MPJPE')))
    assert set(scores) == {'whole_body/MPJPE', 'whole_body/PA-MPJPE'}
    assert all(value < 1e-2 for value in scores.values())
    for sample in samples:
        sample['gt_instances'].pop('skeleton')
    with pytest.raises(ValueError, match='no sample of the data set .* has ground truth'):
        measure(samples, dict(one=dict(measures=['skeleton'])))


def test_agora(measure, samples, tmp_path):
    """Three images; the people of the first are predicted in each other's place, one is missed."""
    first, second = (samples[number]['pred_instances'] for number in (0, 1))
    samples[0]['pred_instances'], samples[1]['pred_instances'] = second, first
    samples[4]['pred_instances']['keypoints'] = samples[4]['pred_instances']['keypoints'] + 1000
    for sample in samples:
        sample['pred_instances']['vertices'][0, 7] += [0, 0.038, 0]  # of the left hand; at one joint or none
    datasets = dict(one=dict(measures=['agora'], primary='NMVE full body'))
    scores = measure(samples, datasets, outfile_prefix=f'{tmp_path}/t')
    get = {name.removeprefix('whole_body/'): value for name, value in scores.items()}
    assert get['Precision'] == get['Recall'] == get['F1'] == pytest.approx(4 / 5)
    assert get['MVE left hand'] > 0.5 and get['MVE face'] < 40
    expected = get['MVE body'] + (get['MVE left hand'] + get['MVE right hand'] + get['MVE face']) / 3
    assert get['MVE full body'] == pytest.approx(expected)
    assert get['NMVE full body'] == pytest.approx(expected / 0.8)
    assert get['NMJE body'] == pytest.approx(get['MPJPE body'] / 0.8)
    rows = json.loads((tmp_path / 't.json').read_text())
    assert {(row['samples'], row['skipped']) for row in rows} == {(4, 1)}


def test_files_for_agora(measure, samples, tmp_path, body_file):
    """Pixels of the server's images, people numbered in each, parameters as they were predicted."""
    with pytest.raises(ValueError, match="measures has 'files': set agora_dir"):
        measure(samples, dict(one=dict(measures=['files'])))
    for number, sample in enumerate(samples):
        labels = sample['gt_instance_labels']
        fields = {name: labels[name].numpy() for name in PARAMETERS}
        fields['body_pose'] = axis_angle_to_matrix(labels['body_pose'].reshape(1, 21, 3)).numpy()
        fields |= dict(transl=np.array([[0.1, 0, 8]]), focal_length=np.array([1500.0]))
        sample['pred_instances'] |= fields
        sample |= dict(sample_idx=number, ori_shape=(720, 1280), img_path=f'x/{number // 2}_1280x720.png')
        sample['gt_instance_labels'] = {}
    measure(samples[::-1], dict(one=dict(measures=['files'])), agora_dir=str(tmp_path))
    names = sorted(path.name for path in (tmp_path / 'predictions').iterdir())
    assert names == [f'{n // 2}_personId_{n % 2}.pkl' for n in range(5)]
    content = pickle.loads((tmp_path / 'predictions/1_personId_1.pkl').read_bytes())
    predicted = samples[3]['pred_instances']
    np.testing.assert_allclose(content['params']['betas'], predicted['betas'])
    body = load_body_model(body_file, 'smplx144', add_hand_means=True)
    labels = {name: torch.from_numpy(predicted[name]) for name in PARAMETERS if name != 'body_pose'}
    pose = torch.from_numpy(content['params']['body_pose'])
    joints = body(**labels, body_pose=pose).joints[0].numpy() + [0.1, 0, 8]
    expected = 3 * (joints[:, :2] / joints[:, 2:] * 1500 + [640, 360])
    np.testing.assert_allclose(content['joints'], expected[None], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(
        axis_angle_to_matrix(pose.reshape(1, 21, 3)).numpy(), predicted['body_pose'], atol=1e-5
    )
    sizes = {name: value.shape for name, value in content['params'].items()}
    assert sizes == {
        'transl': (1, 3), 'global_orient': (1, 3), 'body_pose': (1, 63), 'left_hand_pose': (1, 45),
        'right_hand_pose': (1, 45), 'jaw_pose': (1, 3), 'expression': (1, 10), 'betas': (1, 10),
        'leye_pose': (1, 3), 'reye_pose': (1, 3),
    }  # fmt: skip
    predicted['betas'][0, 2] = np.nan
    with pytest.raises(ValueError, match='betas of person 1 has to be 10 finite numbers'):
        measure(samples, dict(one=dict(measures=['files'])), agora_dir=str(tmp_path))


def test_one_table_and_the_mean_of_primary_errors(measure, samples, tmp_path):
    others = copy.deepcopy(samples)
    for sample in others:
        sample['dataset_name'] = 'two'
        sample['pred_instances']['vertices'] += np.random.default_rng(0).normal(0, 0.01, (COUNT, 3))
    datasets = dict(one=dict(), two=dict(measures=['mesh'], boxes='detected'), three=dict(primary=None))
    third = copy.deepcopy(samples)
    for sample in third:
        sample['dataset_name'] = 'three'
    scores = measure(samples + others + third, datasets, outfile_prefix=f'{tmp_path}/t')
    mean = (scores['whole_body/one/PVE'] + scores['whole_body/two/PVE']) / 2
    assert scores['whole_body/MPE'] == pytest.approx(mean) and mean > 1
    lines = (tmp_path / 't.md').read_text().splitlines()
    assert len(lines) == 2 + 10 + 6 + 10 + 1
    assert sum('detected' in line for line in lines) == 6
    assert 'mean over one (PVE), two (PVE)' in lines[-1]


def test_protocols_are_checked(body_file):
    with pytest.raises(ValueError, match="unknown fields \\['root'\\]"):
        WholeBodyMetric(dict(one=dict(root='pelvis')), body_model=body_file)
    with pytest.raises(ValueError, match='measures must be some of'):
        WholeBodyMetric(dict(one=dict(measures=['image'])), body_model=body_file)


def test_parameters_are_all_of_the_body():
    assert set(PARAMETERS) == set(SIZES)
