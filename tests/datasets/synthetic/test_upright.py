import json

import numpy as np

from mmhier.body_models.joint_sets import joint_set
from mmhier.datasets.synthetic.upright import upright_images

NAMED = joint_set('smpl24')


def test_who_stands_comes_first(tmp_path):
    """Of four people one lies, one leans forwards, one is cut off, one stands beside the first."""
    directions = [[1.0, 0.1, 0.0], [0.0, 1.0, 0.5], [0.0, 1.0, 0.0], [0.05, 1.0, 0.0]]
    joints = np.zeros((4, 24, 3))
    seen = np.ones((4, 17, 3))
    seen[2, 15, 2] = 0
    for row, direction in enumerate(directions):
        joints[row, NAMED.index('neck')] = -np.array(direction)
        joints[row, NAMED.indices(['left_ankle', 'right_ankle'])] = direction
    np.savez(tmp_path / 'smpl_val.npz', joints3d=joints, coco17_2d=seen, image_id=[1, 2, 3, 1])
    images = [dict(id=number, file_name=f'val/{number}.jpg') for number in (1, 2, 3)]
    (tmp_path / 'person_keypoints_val.json').write_text(json.dumps(dict(images=images)))
    assert upright_images(tmp_path / 'person_keypoints_val.json') == ['1.jpg', '2.jpg', '3.jpg']
