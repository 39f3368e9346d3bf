"""Models outside of PyTorch: exported files with a proof that they compute the same, and what runs them."""

from mmhier.deploy.engines import ENGINES, load_exported, make_engine
from mmhier.deploy.export import export_model

__all__ = ['ENGINES', 'export_model', 'load_exported', 'make_engine']
