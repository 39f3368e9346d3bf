"""mmhier's modules in MMPose's registries, so that ``type='TruncatedSwin'`` works in any MMPose config.

A registry of MMEngine imports the modules of its ``locations`` before its first look-up. Ours are added to
that list when ``mmpose.registry`` appears; if a registry has already made its look-up, they are imported
right away.
"""

import importlib
from types import ModuleType

import wrapt

# Name in mmpose.registry -> packages of mmhier that register into it.
LOCATIONS = {
    'MODELS': ('mmhier.models', 'mmhier.distillation'),
    'DATASETS': (
        'mmhier.datasets.coco',
        'mmhier.datasets.many_datasets',
        'mmhier.datasets.mesh',
        'mmhier.datasets.picture_folder',
        'mmhier.datasets.repeated_views',
    ),
    'DATA_SAMPLERS': ('mmhier.datasets.mesh',),
    'TRANSFORMS': ('mmhier.datasets.transforms',),
    'KEYPOINT_CODECS': ('mmhier.codecs',),
    'METRICS': ('mmhier.evaluation.metrics',),
    'MODEL_WRAPPERS': ('mmhier.engine',),
    'OPTIM_WRAPPER_CONSTRUCTORS': ('mmhier.engine',),
    'HOOKS': ('mmhier.datasets.mesh', 'mmhier.engine', 'mmhier.visualization.mesh_hook'),
}  # fmt: skip


def add_locations(registry_module: ModuleType) -> None:
    """Add :data:`LOCATIONS` to the registries of ``mmpose.registry``.

    All lists are extended before anything is imported, so what is imported may itself look things up.
    A registry that is importing its locations at this moment goes on to the ones added here.
    """
    late = []
    for name, locations in LOCATIONS.items():
        registry = getattr(registry_module, name)
        new = [location for location in locations if location not in registry._locations]
        registry._locations.extend(new)
        if registry._imported:
            late += new
    for location in late:
        importlib.import_module(location)


def install() -> None:
    """Call :func:`add_locations` when ``mmpose.registry`` is imported, or now if it has been."""
    wrapt.register_post_import_hook(add_locations, 'mmpose.registry')
