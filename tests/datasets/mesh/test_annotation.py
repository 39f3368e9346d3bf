"""One person: what is missing, what is wrong."""

import numpy as np

from mmhier.datasets.mesh.annotation import check_annotation, count_problems, to_results
from mmhier.mesh_sample import SMPL_LAYOUT, SMPLX_LAYOUT

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


def test_whole_bodies_know_each_part_by_itself():
    """Parts without a flag are known if they are there; boxes and points by their confidence."""
    boxes = np.array([[1, 2, 3, 4, 1], [np.nan] * 4 + [0], [5, 6, 7, 8, 0.5]])
    given = dict(left_hand_pose=np.ones(45), jaw_pose=np.ones(3), has_jaw_pose=0, expression=np.ones(10))
    record, problem = check_annotation(BOX | given | dict(part_boxes=boxes), SMPLX_LAYOUT)
    assert problem == 0
    flags = {name: float(record[f'has_{name}']) for name in ('left_hand_pose', 'jaw_pose', 'expression')}
    assert flags == dict(left_hand_pose=1, jaw_pose=0, expression=1)
    assert record['has_right_hand_pose'] == record['has_body_pose'] == 0
    assert record['left_hand_pose'].all() and not record['jaw_pose'].any()
    np.testing.assert_array_equal(record['part_boxes'][1], np.zeros(5))
    assert to_results(record).keys() == SMPLX_LAYOUT.annotation_shapes.keys()
    assert check_annotation(BOX | dict(body_pose=np.ones(69)), SMPLX_LAYOUT)[1] == 2  # SMPL's
    assert check_annotation(BOX | dict(part_boxes=np.full((3, 5), np.inf)), SMPLX_LAYOUT)[1] == 3


def test_results_are_copies():
    record, _ = check_annotation(BOX)
    results = to_results(record)
    assert set(results) == set(SMPL_LAYOUT.annotation_shapes)
    results['center'] += 1
    assert (record['center'] == 1).all()
