"""Evaluate a checkpoint: ``python tools/test.py CONFIG CHECKPOINT``, options as in MMPose (``--help``)."""

import sys

from mmhier.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['test', *sys.argv[1:]]))
