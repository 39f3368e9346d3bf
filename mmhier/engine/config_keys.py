"""Which names and keys a config may have: what is registered, and what its readers take."""

import inspect
from collections.abc import Mapping, Set
from typing import Any

from mmengine.hooks import Hook
from mmengine.registry import Registry
from mmengine.runner import Runner

from mmhier.suggestions import did_you_mean

# Top-level settings beside the arguments of Runner that MMEngine, MMPose or mmhier read.
TOP_LEVEL = {
    'activation_checkpointing', 'compile', 'custom_imports', 'efficient_conv_bn_eval',
    'find_unused_parameters', 'model_wrapper_cfg', 'runner_type', 'sync_bn',
}  # fmt: skip
# Dictionaries without a type, by the end of their path: the keys that their readers know.
READ = {
    'auto_scale_lr': {'enable', 'base_batch_size'},
    'clip_grad': {'type', 'max_norm', 'norm_type', 'error_if_nonfinite', 'foreach', 'clip_value'},
    'custom_imports': {'imports', 'allow_failed_imports'},
    'data_prefix': {'img', 'img_path', 'depth'},
    'dist_cfg': {'backend', 'init_backend', 'init_method', 'port', 'rank', 'timeout', 'world_size'},
    'env_cfg': {'cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit'},
    'mp_cfg': {'mp_start_method', 'opencv_num_threads'},
    'randomness': {'seed', 'deterministic', 'diff_rank_seed'},
    'test_cfg': {'fp16'},
    'val_cfg': {'fp16'},
    'train_cfg': {'by_epoch', 'max_epochs', 'max_iters', 'val_begin', 'val_interval', 'dynamic_intervals'},
    'model.teacher': {'config', 'checkpoint', 'precision', 'cache'},
    'model.test_cfg': {
        'align_corners', 'blur_kernel_size', 'flip_mode', 'flip_test', 'input_size', 'max_instances',
        'max_num_people', 'multiscale_test', 'nms_dist_thr', 'nms_joints_thr', 'output_heatmaps',
        'output_keypoint_indices', 'restore_heatmap_size', 'score_threshold', 'shift_coords', 'shift_heatmap',
    },
    'paramwise_cfg': {
        'bias_decay_mult', 'bias_lr_mult', 'bypass_duplicate', 'custom_keys', 'dcn_offset_lr_mult',
        'dwconv_decay_mult', 'flat_decay_mult', 'layer_decay_rate', 'norm_decay_mult', 'num_layers',
    },
}  # fmt: skip
_LOADER = {'sampler', 'batch_sampler', 'dataset', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch'}
# What a dictionary without a type builds.
DEFAULT_TYPES = dict(
    optim_wrapper='OptimWrapper',
    generator='OptimWrapper',
    discriminator='OptimWrapper',
    log_processor='LogProcessor',
)
# Keys that builders take out before they call the class.
_BUILDER = {'type', '_scope_', '_delete_', 'init_cfg', 'name'}
_INNER = {'_scope_', '_delete_', 'name', 'type'}
_OF_OPTIMIZERS = {'constructor', 'paramwise_cfg', 'optimizer'}
_OF_CUSTOM_KEY = {'lr_mult', 'decay_mult'}


def meant(name: str, names: Set[str]) -> str:
    """The end of a message about a name that is not among those known."""
    return did_you_mean(name, names) or f'; it takes {", ".join(sorted(names - _INNER)[:40])}'


def known_keys(place: Mapping, path: list[str]) -> set[str] | None:
    """Keys that are read of a dictionary at ``path``; None where anything may be."""
    if not path:
        return set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | TOP_LEVEL
    if kind := place.get('type', DEFAULT_TYPES.get(path[-1])):
        names = parameters_of(kind)
        if path[-1] in ('optim_wrapper', 'generator', 'discriminator'):
            names = names and names | _OF_OPTIMIZERS
            if place.get('constructor') == 'AdversarialConstructor':
                names = names and names - {'optimizer', 'paramwise_cfg'} | {'generator', 'discriminator'}
        if kind == 'EMAHook':  # hands the rest to the average
            names = names | (parameters_of(place.get('ema_type', 'ExponentialMovingAverage')) or set())
        return names
    if path[-2:-1] == ['custom_keys']:
        return _OF_CUSTOM_KEY
    if path[-1].endswith('_dataloader'):
        from torch.utils.data import DataLoader

        return set(inspect.signature(DataLoader.__init__).parameters) - {'self'} | _LOADER
    for end in ('.'.join(path[-2:]), path[-1]):
        if end in READ:
            return READ[end]
    return None


def parameters_of(kind: Any) -> set[str] | None:
    """Arguments of a registered class and those that it passes on to its parents; None if it tells not."""
    found = find(kind) if isinstance(kind, str) else kind
    if not inspect.isclass(found):
        return None
    names: set[str] = {'priority'} if issubclass(found, Hook) else set()
    for parent in found.__mro__:
        if '__init__' not in vars(parent):
            continue
        parameters = inspect.signature(parent.__init__).parameters.values()
        names |= {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            return names - {'self'} | _BUILDER
    # What a hook does not know it would hand to functions that do not know it either.
    return names - {'self'} | _BUILDER if issubclass(found, Hook) else None


def registries() -> list[Registry]:
    """Those of MMPose, which look into MMEngine's, too."""
    from mmpose import registry

    return [candidate for candidate in vars(registry).values() if isinstance(candidate, Registry)]


def find(name: str) -> Any:
    """What any registry has under a name, None if none has; only of MODELS where it names another library."""
    homes = registries()
    if '.' in name:  # to look into the others would import what need not be there
        homes = [registry for registry in homes if registry.name == 'model']
    found = (registry.get(name) for registry in homes)
    return next((one for one in found if one is not None), None)


def names_in(registry: Registry | None) -> set[str]:
    """What a registry and those above it hold."""
    return set() if registry is None else {*registry.module_dict} | names_in(registry.parent)
