"""One person: what is missing, what is wrong."""

import numpy as np

from mmhier.datasets.mesh.annotation import check_annotation, count_problems, to_results
from mmhier.mesh_sample import ANNOTATION_SHAPES

BOX = dict(center=np.ones(2), scale=np.full(2, 50.0))


def test_box_alone_is_enough():
    record, problem = check_annotation(BOX)
    assert problem == 0
    assert record['has_body_pose'] == record['has_betas'] == 0
    assert not record['keypoints_2d'].any()


def test_parameters_without_flag_are_known_and_a_flag_without_parameters_is_not():
    known, _ = check_annotation(BOX | dict(betas=np.ones(10)))
    unknown, _ = check_annotation(BOX | dict(has_betas=1))
    half, _ = check_annotation(BOX | dict(has_body_pose=1, body_pose=np.ones(69)))
    assert (known['has_betas'], unknown['has_betas'], half['has_body_pose']) == (1, 0, 0)


def test_numbers_that_mean_nothing_may_be_anything():
    nothing = dict(betas=np.full(10, np.nan), has_betas=0, fitting_error=np.nan)
    record, problem = check_annotation(BOX | nothing)
    assert problem == 0
    assert not record['betas'].any()


def test_first_problem_counts():
    assert check_annotation({})[1] == 1
    assert check_annotation(BOX | dict(betas=np.ones(9), center=np.full(2, np.nan)))[1] == 2
    assert count_problems([0, 1, 1, 3]) == {
        'no box, or one narrower than a pixel': 2,
        'a number that is not finite': 1,
    }


def test_results_are_copies():
    record, _ = check_annotation(BOX)
    results = to_results(record)
    assert set(results) == set(ANNOTATION_SHAPES)
    results['center'] += 1
    assert (record['center'] == 1).all()
