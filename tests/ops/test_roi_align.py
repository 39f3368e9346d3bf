import runpy
from pathlib import Path

import pytest
import torch

from mmhier.ops.roi_align import MAX_SAMPLES, bin_weights, roi_align

REFERENCE = runpy.run_path(str(Path(__file__).parents[1] / 'reference' / 'smplerx.py'))['roi_align']
BOXES = {
    'inside': (3.2, 4.1, 9.7, 11.3),
    'larger than the map': (-10.0, -3.5, 30.0, 41.0),
    'several samples a bin': (0.0, 0.0, 11.9, 12.0),
    'over the edge': (-4.0, 8.0, 3.0, 14.5),
    'less than a cell': (5.0, 5.0, 5.2, 5.1),
    'turned over': (9.0, 9.0, 4.0, 4.0),
    'far away': (100.0, 100.0, 130.0, 120.0),
}


@pytest.mark.parametrize('box', BOXES.values(), ids=list(BOXES))
def test_equals_the_definition(box):
    maps = torch.randn(1, 3, 11, 9, generator=torch.Generator().manual_seed(0))
    found = roi_align(maps, torch.tensor([box]), 4)
    torch.testing.assert_close(found[0], REFERENCE(maps[0], box, 4), rtol=0, atol=2e-6)


def test_each_image_has_its_box():
    maps = torch.randn(7, 2, 11, 9, generator=torch.Generator().manual_seed(0))
    boxes = torch.tensor(list(BOXES.values()))
    together = roi_align(maps, boxes, 4)
    for index in range(7):
        single = roi_align(maps[index : index + 1], boxes[index : index + 1], 4)
        torch.testing.assert_close(together[index], single[0], rtol=0, atol=1e-6)


def test_convention_the_centre_of_a_cell_is_a_whole_number():
    ramp = torch.arange(10.0).expand(1, 1, 10, 10)
    found = roi_align(ramp, torch.tensor([[2.0, 2.0, 4.0, 4.0]]), 2)
    torch.testing.assert_close(found[0, 0], torch.tensor([[2.5, 3.5], [2.5, 3.5]]))


def test_rows_sum_to_one_inside_and_to_zero_outside():
    start, end = torch.tensor([1.0, 50.0]), torch.tensor([8.0, 60.0])
    sums = bin_weights(start, end, 10, 5).sum(-1)
    torch.testing.assert_close(sums, torch.tensor([[1.0] * 5, [0.0] * 5]))


def test_gradients_reach_the_map_alone():
    maps = torch.randn(2, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    boxes = torch.tensor([[0.5, 1.0, 4.0, 5.5], [-2.0, 1.0, 3.0, 3.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_align(x, boxes, 3), maps)


def test_huge_boxes_have_a_bounded_number_of_samples():
    box = torch.tensor([[-2e4, -2e4, 2e4, 2e4]])
    assert torch.isfinite(roi_align(torch.ones(1, 1, 8, 8), box, 2)).all()
    assert MAX_SAMPLES * 16 >= 4 * 64  # exact up to four times SMPLer-X's finer map
