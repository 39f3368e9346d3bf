"""Train and evaluate a small pose model on synthetic people; ``make quickstart`` runs this."""

import sys

from mmhier.cli.main import main

if __name__ == '__main__':
    sys.exit(main(['quickstart', *sys.argv[1:]]))
