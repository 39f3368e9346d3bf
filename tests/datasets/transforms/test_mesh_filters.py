"""Which annotations are trusted: each rule alone, and all of them beside the official steps."""

import copy
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmhier.datasets.mesh.shard import person_fields
from mmhier.datasets.transforms.mesh_filters import (
    POSE_THRESHOLDS,
    PRIOR_JOINTS,
    PersonFilter,
    PosePrior,
    SuppressBodyParameters,
    SuppressKeypoints,
)
from mmhier.testing.mesh_data import random_person

hmr2_data = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / 'reference' / 'hmr2_data.py')))


def parameters(**changes):
    known = dict(has_body_pose=1.0, has_betas=1.0)
    return known | dict(betas=np.zeros(10, np.float32), body_pose=np.zeros((23, 3), np.float32)) | changes


@pytest.fixture(scope='module')
def histogram(tmp_path_factory):
    """Motion capture that turns every joint a little about x."""
    counts = np.zeros((21, 50, 50, 50), np.float32)
    counts[:, 19:31, 22:28, 22:28] = 1
    path = tmp_path_factory.mktemp('prior') / 'histogram.npy'
    np.save(path, counts)
    return str(path)


def test_uncertain_joints_are_forgotten():
    keypoints = np.ones((44, 3), np.float32)
    keypoints[:3, 2] = 0.29, 0.3, 0.9
    made = SuppressKeypoints().transform(dict(keypoints_2d=keypoints))
    np.testing.assert_allclose(made['keypoints_2d'][:3, 2], [0, 0.3, 0.9])


def test_extreme_shape_takes_the_pose_with_it_and_becomes_the_mean():
    betas = np.zeros(10, np.float32)
    betas[4] = -3.1
    made = SuppressBodyParameters().transform(parameters(betas=betas))
    assert (made['has_body_pose'], made['has_betas']) == (0.0, 1.0)
    assert not made['betas'].any()
    alone = SuppressBodyParameters(both_or_neither=False, mean_shape_if_unknown=False)
    made = alone.transform(parameters(betas=betas))
    assert (made['has_body_pose'], made['has_betas']) == (1.0, 0.0)


def test_trusted_parameters_stay():
    betas = np.full(10, 2.9, np.float32)
    made = SuppressBodyParameters().transform(parameters(betas=betas))
    assert (made['has_body_pose'], made['has_betas']) == (1.0, 1.0)
    np.testing.assert_array_equal(made['betas'], betas)


def test_improbable_pose_is_forgotten(histogram):
    step = SuppressBodyParameters(pose_histogram=histogram)
    assert step.transform(parameters())['has_body_pose'] == 1.0
    pose = np.zeros((23, 3), np.float32)
    pose[PRIOR_JOINTS.index('left_knee')] = 0, 0, 3
    assert step.transform(parameters(body_pose=pose))['has_body_pose'] == 0.0
    hands = np.zeros((23, 3), np.float32)
    hands[21:] = 3  # the prior does not know them
    assert step.transform(parameters(body_pose=hands))['has_body_pose'] == 1.0


def test_prior_agrees_with_the_official_steps(histogram):
    prior = PosePrior(histogram)
    thresholds = torch.tensor([POSE_THRESHOLDS[name] for name in PRIOR_JOINTS])
    rng = np.random.default_rng(0)
    verdicts = []
    for spread in np.linspace(0.05, 2.5, 60):
        pose = rng.normal(0, spread, (23, 3))
        pose[:, 1:] *= 0.3
        official = hmr2_data.probable(
            torch.from_numpy(pose.reshape(1, 69)), torch.from_numpy(prior.density), thresholds
        )
        assert prior.is_probable(pose) == official
        verdicts.append(official)
    assert 5 < sum(verdicts) < 55


def test_file_that_is_no_prior_is_refused(tmp_path):
    np.save(tmp_path / 'x.npy', np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r'x\.npy: expected counts \(21, bins, bins, bins\), got \(3, 4\)'):
        PosePrior(str(tmp_path / 'x.npy'))
    for counts in (np.zeros((21, 2, 2, 2)), -np.ones((21, 2, 2, 2)), np.full((21, 2, 2, 2), np.nan)):
        np.save(tmp_path / 'x.npy', counts)
        with pytest.raises(
            ValueError, match=r'x\.npy: counts must be finite, not negative, and not all zero'
        ):
            PosePrior(str(tmp_path / 'x.npy'))
    np.save(tmp_path / 'text.npy', np.array(['a']))
    for name, content in (('empty.npy', b''), ('other.npy', b'nothing'), ('text.npy', None)):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf'{name} is not an?.* \.?npy'):
            PosePrior(str(tmp_path / name))


def test_who_is_left_out():
    confidence = np.zeros((4, 44))
    confidence[0, :5] = confidence[2:, :5] = 0.3
    confidence[1, :4] = 0.9
    confidence[1, 4:9] = 0.29
    scale = np.array([[50, 90], [50, 90], [50, 90], [0.5, 90]])
    error = np.array([np.nan, 0, 31000, 30999])
    problems = PersonFilter(min_box_size=1).problems(confidence, scale, error)
    assert [list(np.flatnonzero(wrong)) for wrong in problems.values()] == [[1], [2], [3]]


def test_all_rules_agree_with_the_official_steps():
    rng = np.random.default_rng(1)
    step, keypoints_step = SuppressBodyParameters(), SuppressKeypoints()
    kept = []
    for _ in range(100):
        person = random_person(rng)
        person['keypoints_2d'][:, 2] = rng.uniform(0, 0.36, 44)
        person['betas'] *= rng.uniform(0.5, 3)
        person['has_betas'] = np.array(float(rng.uniform() < 0.8))
        loss = {'reprojection_loss': rng.uniform(0, 45000)}
        person['extra_info']['fitting_loss'] = np.array(loss)
        official = hmr2_data.filter_person({'data.pyd': copy.deepcopy(person)})
        confidence, scale = person['keypoints_2d'][None, :, 2], person['scale'][None] * 200
        judged = PersonFilter().problems(confidence, scale, np.array([loss['reprojection_loss']]))
        assert (official is None) == any(wrong.any() for wrong in judged.values())
        kept.append(official is not None)
        if official is None:
            continue
        keypoints = person['keypoints_2d'].copy()
        ours = parameters(betas=person['betas'], has_betas=float(person['has_betas']), keypoints_2d=keypoints)
        ours = keypoints_step.transform(step.transform(ours))
        for name in ('betas', 'has_betas', 'has_body_pose', 'keypoints_2d'):
            np.testing.assert_array_equal(ours[name], official['data.pyd'][name])
    assert 20 < sum(kept) < 95
    assert person_fields({}) == {}
