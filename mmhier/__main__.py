"""``python -m mmhier``: the command ``mmhier``."""

import sys

from mmhier.cli.main import main

if __name__ == '__main__':
    sys.exit(main())
