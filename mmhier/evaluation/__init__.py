"""Metrics: pure functions in ``functional``, thin MMEngine classes in ``metrics``."""
