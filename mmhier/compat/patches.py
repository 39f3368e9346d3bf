"""Lines of the stock MMPose and MMEngine that fail today, that cost seconds, or that wait for ever."""

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


def format_configs_once(module: ModuleType) -> None:
    """Let MMEngine lay out the text of a config once per start.

    It asks for the same text four times, and for a mix of data sets each takes a second or more. Unnecessary
    once ``mmengine/config/config.py`` keeps ``pretty_text``.
    """
    original = module.FormatCode
    latest: dict[tuple[str, str], Any] = {}

    @functools.wraps(original)
    def format_code(source: str, **options: Any) -> Any:
        key = source, repr(options)
        if key not in latest:
            latest.clear()
            latest[key] = original(source, **options)
        return latest[key]

    module.FormatCode = format_code


def name_failed_downloads(module: ModuleType) -> None:
    """Let MMEngine say which file it cannot download, not wait for it for ever, and read annotations so."""
    for name in ('get', 'get_text'):
        original = getattr(module.HTTPBackend, name)

        @functools.wraps(original)
        def get(self: Any, filepath: str, *args: Any, original: Any = original, **kwargs: Any) -> Any:
            from mmhier.network import downloading

            with downloading(filepath, 'fetch it elsewhere and give the name of the file'):
                return original(self, filepath, *args, **kwargs)

        setattr(module.HTTPBackend, name, get)
    # MMPose asks before it reads annotations; MMEngine's backend has no answer. Reading tells.
    module.HTTPBackend.exists = lambda self, filepath: True


def install() -> None:
    """Apply each patch when the module it belongs to is imported, or now if it has been."""
    wrapt.register_post_import_hook(format_configs_once, 'mmengine.config.config')
    wrapt.register_post_import_hook(name_failed_downloads, 'mmengine.fileio.backends.http_backend')
    wrapt.register_post_import_hook(accept_radius_arrays, 'mmpose.visualization.opencv_backend_visualizer')
