"""``python -m mmhier``: the command ``mmhier``."""

import sys

from mmhier.apis.cli import main

if __name__ == '__main__':
    sys.exit(main())
