"""What drives a run beside the model: optimizer constructor, start-up checks, launching."""

from mmhier.engine.layer_decay import LayerIdDecayConstructor

__all__ = ['LayerIdDecayConstructor']
