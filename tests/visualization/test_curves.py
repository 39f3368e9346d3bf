"""The training curve is drawn from what MMEngine writes."""

import json

import cv2
import pytest

from mmhier.visualization.curves import plot_training, read_scalars


def test_resumed_runs_are_one_curve(tmp_path):
    for run, epochs in (('1', (1, 2)), ('2', (3,))):
        folder = tmp_path / run / 'vis_data'
        folder.mkdir(parents=True)
        lines = [dict(loss=1 / epoch, epoch=epoch, iter=epoch * 10, step=epoch * 10) for epoch in epochs]
        lines += [{'coco/AP': 0.1 * epochs[-1], 'step': epochs[-1]}]
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)))
    records = read_scalars(tmp_path)
    assert [record['epoch'] for record in records if 'epoch' in record] == [1, 2, 3]
    plot_training(records, tmp_path / 'curve.png')
    assert cv2.imread(str(tmp_path / 'curve.png')).shape[1] > 300


def test_nothing_to_draw(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        read_scalars(tmp_path)
    with pytest.raises(ValueError, match='no record has a loss'):
        plot_training([], tmp_path / 'curve.png')
