"""Workers that start empty can unpickle a data set of MMPose."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# mmhier is imported in main() only, as a config's custom_imports would under MMPose's own tools/train.py.
SCRIPT = """
import sys

def main():
    import mmhier
    from mmengine.dataset import pseudo_collate
    from mmpose.datasets import CocoDataset
    from torch.utils.data import DataLoader
    data = CocoDataset(ann_file=sys.argv[1], pipeline=[])
    loader = DataLoader(
        data, num_workers=1, multiprocessing_context=sys.argv[2], collate_fn=pseudo_collate)
    print('image ids', [batch['img_id'] for batch in loader])

if __name__ == '__main__':
    main()
"""


@pytest.mark.parametrize('method', ['spawn', 'forkserver'])
def test_workers(tmp_path, method):
    person = {'id': 1, 'image_id': 5, 'category_id': 1, 'bbox': [0, 0, 5, 5], 'area': 25, 'iscrowd': 0}
    person |= {'num_keypoints': 17, 'keypoints': [1, 1, 2] * 17}
    annotations = {
        'images': [{'id': 5, 'file_name': 'a.jpg', 'width': 10, 'height': 10}],
        'annotations': [person],
        'categories': [{'id': 1, 'name': 'person'}],
    }
    (tmp_path / 'annotations.json').write_text(json.dumps(annotations))
    (tmp_path / 'script.py').write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', tmp_path / 'script.py', tmp_path / 'annotations.json', method],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={'PYTHONPATH': str(ROOT), 'PATH': ''},
    )
    assert done.returncode == 0, done.stderr
    assert 'image ids [[5]]' in done.stdout
