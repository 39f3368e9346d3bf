"""Crops to compare exported models on."""

import json

import pytest
import torch

from mmhier.inference.estimators import load_estimator
from mmhier.inference.sample_crops import read_crops

MICRO = 'swinpose_micro_s3_synth'


@pytest.mark.parametrize('name', ['val/1.png', 'C:\\val\\1.png'])
def test_boxes_cut_people_out(picture_folder, tmp_path, name):
    boxes = tmp_path / 'boxes.json'
    content = dict(
        images=[dict(id=7, file_name=name)],
        annotations=[dict(image_id=7, bbox=[10, 20, 30, 40]), dict(image_id=7, bbox=[0, 0, 120, 160])],
    )
    boxes.write_text(json.dumps(content))
    estimator = load_estimator(MICRO, 'random', 'cpu')
    images, source = read_crops(estimator, picture_folder, boxes, 5)
    whole, _ = read_crops(estimator, picture_folder, None, 5)
    assert images.shape == whole.shape == (2, 3, 128, 96) and source == 'boxes of images in pictures'
    torch.testing.assert_close(images[1], whole[1])
    assert (images[0] - whole[1]).abs().max() > 0.5
