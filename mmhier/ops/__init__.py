"""Operators that import torch and nothing else."""
