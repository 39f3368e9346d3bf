"""Triangles to pixels with a z-buffer, for synthetic people and pictures; no GPU, display or driver."""

from mmhier.rasterizer.frame_buffer import (
    BACKGROUND,
    NEAR,
    FrameBuffer,
    Surface,
    project,
    vertex_normals,
)

__all__ = ['BACKGROUND', 'NEAR', 'FrameBuffer', 'Surface', 'project', 'vertex_normals']
