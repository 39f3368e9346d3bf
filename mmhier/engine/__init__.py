"""What drives a run beside the model: optimizer constructors, start-up checks, launching."""

from mmhier.engine.adversarial import AdversarialConstructor, AdversarialOptimWrapper
from mmhier.engine.layer_decay import LayerIdDecayConstructor
from mmhier.engine.sharding import FullyShardedModel

__all__ = [
    'AdversarialConstructor',
    'AdversarialOptimWrapper',
    'FullyShardedModel',
    'LayerIdDecayConstructor',
]
