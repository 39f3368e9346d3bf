"""Known warnings of others are not shown; all other warnings are, those of the same modules too."""

import subprocess
import sys

PROGRAM = """
import logging, sys, warnings
import mmhier
import mmengine.utils
from mmengine.config import Config
from mmengine.fileio import FileClient, file_client
from mmengine.logging import MMLogger
import mmpose.datasets.datasets.utils as utils
FileClient.infer_client(uri='.')
utils.parse_pose_metainfo(dict(from_file='configs/_base_/datasets/coco.py'))
Config.fromfile(sys.argv[1])
print('so far', file=sys.stderr)
for text in ('pkg_resources is deprecated as an API.', 'another'):
    for name in ('mmengine.utils.package_utils', 'importlib', 'importlib_metadata', 'my_module'):
        warnings.warn_explicit(text + ' In ' + name, UserWarning, name + '.py', 1, name)
file_client.print_log('"FileClient" is something else', logger='current', level=logging.WARNING)
logging.getLogger('mmhier').warning('ours')
"""


def test_only_what_is_listed_is_silenced(tmp_path):
    config = tmp_path / 'config.py'
    config.write_text("_base_ = ['mmpose::_base_/default_runtime.py']\n")
    command = [sys.executable, '-c', PROGRAM, str(config)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after = done.stderr.split('so far\n')
    assert before == '' and 'deprecated' not in done.stdout
    shown = [line for line in after.splitlines() if 'UserWarning' in line]
    assert [line.rpartition('UserWarning: ')[2] for line in shown] == [
        'pkg_resources is deprecated as an API. In importlib_metadata',
        'pkg_resources is deprecated as an API. In my_module',
        'another In mmengine.utils.package_utils',
        'another In importlib',
        'another In importlib_metadata',
        'another In my_module',
    ]
    assert 'ours' in after
    assert '"FileClient" is something else' in done.stdout + after
