"""The option ``--trust-checkpoint`` of the commands that load weights."""

import argparse


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """Declare it."""
    parser.add_argument(
        '--trust-checkpoint',
        action='store_true',
        help='load checkpoints and exported files without the safety check; only for files whose author you '
        'trust, since loading such a file can run code that it contains',
    )


def apply_trust(args: argparse.Namespace) -> None:
    """Do as it says, before anything is loaded."""
    if args.trust_checkpoint:
        from mmhier.compat.checkpoint import trust_checkpoints

        trust_checkpoints()
