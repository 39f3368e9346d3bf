"""Train a model: ``python tools/train.py CONFIG``, options as in MMPose (``--help``)."""

import sys

from mmhier.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['train', *sys.argv[1:]]))
