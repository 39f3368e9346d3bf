"""Lines of the stock MMPose that current versions of its dependencies no longer accept."""

import functools
from types import ModuleType
from typing import Any

import wrapt


def accept_radius_arrays(module: ModuleType) -> None:
    """Let MMPose draw circles with OpenCV under numpy >= 2.4.

    It passes the radius as an array of one number and calls ``int`` on it, which is an error now. Unnecessary
    once ``mmpose/visualization/opencv_backend_visualizer.py`` takes the number out of its array.
    """
    visualizer = module.OpencvBackendVisualizer
    original = visualizer.draw_circles

    @functools.wraps(original)
    def draw_circles(self: Any, center: Any, radius: Any, *args: Any, **kwargs: Any) -> Any:
        if self.backend == 'opencv' and getattr(radius, 'ndim', 0):
            radius = radius.item()
        return original(self, center, radius, *args, **kwargs)

    visualizer.draw_circles = draw_circles


def install() -> None:
    """Apply each patch when the module it belongs to is imported, or now if it has been."""
    wrapt.register_post_import_hook(accept_radius_arrays, 'mmpose.visualization.opencv_backend_visualizer')
