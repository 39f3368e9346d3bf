"""The public face: what a program that uses mmhier needs, by one name each.

Nothing is imported before it is asked for: ``from mmhier.apis import Inferencer`` imports PyTorch and MMPose,
importing this package alone does not. What else the rooms of the package have may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmhier.body_models.model_directory import load_body_model
    from mmhier.deploy import export_model
    from mmhier.inference.inferencer import Inferencer
    from mmhier.results.frame_result import FrameResult
    from mmhier.results.writer import ResultWriter

__all__ = ['FrameResult', 'Inferencer', 'ResultWriter', 'export_model', 'load_body_model']

_HOMES = {
    'FrameResult': 'mmhier.results.frame_result',
    'Inferencer': 'mmhier.inference.inferencer',
    'ResultWriter': 'mmhier.results.writer',
    'export_model': 'mmhier.deploy',
    'load_body_model': 'mmhier.body_models.model_directory',
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
