import json

import cv2
import numpy as np

from mmhier.visualization.sheets import draw_predictions, pair_sheet


def test_predictions_are_drawn_where_they_are(tmp_path):
    """Of two grey images one has a prediction: a line of two joints, at half of the size."""
    image = np.full((416, 520, 3), 128, np.uint8)
    for name in ('1.png', '2.png'):
        cv2.imwrite(str(tmp_path / name), image)
    category = dict(keypoints=['nose', 'left_eye'], skeleton=[[1, 2]])
    images = [dict(id=number, file_name=f'{number}.png') for number in (1, 2)]
    (tmp_path / 'set.json').write_text(json.dumps(dict(images=images, categories=[category])))
    found = dict(image_id=2, keypoints=[100, 200, 1, 400, 200, 1])
    (tmp_path / 'found.json').write_text(json.dumps([found]))
    sheet = draw_predictions(tmp_path / 'set.json', tmp_path, tmp_path / 'found.json')
    drawn = ((sheet != 128) & (sheet != 255)).any(-1)
    rows, columns = np.nonzero(drawn)
    gap = 4
    left = 2 * gap + 260
    assert left < columns.min() and columns.max() < left + 260
    assert abs(rows.mean() - gap - 100) < 4 and abs(columns.mean() - left - 125) < 6


def test_panels_are_put_beside_the_skeletons(tmp_path):
    image = np.full((208, 260, 3), 128, np.uint8)
    cv2.imwrite(str(tmp_path / '1.png'), image)
    panel = np.concatenate([image, np.full((208, 520, 3), (200, 50, 0), np.uint8)], axis=1)
    (tmp_path / 'panels').mkdir()
    cv2.imwrite(str(tmp_path / 'panels' / '1.jpg'), panel)
    category = dict(keypoints=['nose', 'left_eye'], skeleton=[[1, 2]])
    content = dict(images=[dict(id=1, file_name='1.png')], categories=[category])
    (tmp_path / 'set.json').write_text(json.dumps(content))
    (tmp_path / 'found.json').write_text('[]')
    sheet = draw_predictions(tmp_path / 'set.json', tmp_path, tmp_path / 'found.json', tmp_path / 'panels')
    assert (sheet[100, 4 + 130] == 128).all()
    np.testing.assert_allclose(sheet[100, 4 + 260 + 260], (200, 50, 0), atol=6)


def test_pairs_stand_beside_each_other():
    black, white = np.zeros((208, 260, 3), np.uint8), np.full((208, 260, 3), 200, np.uint8)
    sheet = pair_sheet([(black, white)] * 4)
    assert sheet.shape == (2 * 208 + 3 * 4, 3 * 520 + 4 * 4, 3)
    assert (sheet[100, 100] == 0).all() and (sheet[100, 400] == 200).all()
