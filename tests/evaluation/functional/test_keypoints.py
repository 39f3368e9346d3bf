"""Phi_P,2D by hand."""

import pytest

from mmhier.evaluation.functional import phi_pose_2d


def test_mean_of_ap_and_ar():
    assert phi_pose_2d(0.746, 0.798) == pytest.approx(0.772)


@pytest.mark.parametrize(('precision', 'recall'), [(-1, -1), (-1, 0.5), (0.5, -1)])
def test_undefined_stays_undefined(precision, recall):
    assert phi_pose_2d(precision, recall) == -1
