"""The programming interface and the command line.

``from mmhier.apis import Inferencer`` imports PyTorch and MMPose; importing this package alone does not.
"""

__all__ = ['Inferencer']


def __getattr__(name: str):
    if name != 'Inferencer':
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from mmhier.apis.inferencer import Inferencer

    return Inferencer
