"""Selective scan of Mamba (Gu & Dao, 2023), in one dimension and in the four directions of VMamba."""

from .dispatch import BACKENDS, choose, cross_selective_scan, selective_scan

__all__ = ['BACKENDS', 'choose', 'cross_selective_scan', 'selective_scan']
