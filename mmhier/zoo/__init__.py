"""Models by name: their configs and their weights."""

import wrapt


def install() -> None:
    """Have MMEngine take names of released weights as soon as it is imported. Cheap, safe to call again."""
    wrapt.register_post_import_hook('mmhier.zoo.checkpoint_names:register', 'mmengine.runner.checkpoint')
