"""Rotations, cameras and alignments in torch, free of everything else."""
