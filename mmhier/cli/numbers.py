"""Numbers on the command line."""

import argparse


def positive(text: str) -> int:
    """A whole number from 1; argparse says what is wrong with another."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f'must be at least 1, got {value}')
    return value


def not_negative(text: str) -> int:
    """A whole number from 0; argparse says what is wrong with another."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f'must be at least 0, got {value}')
    return value
