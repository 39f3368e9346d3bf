"""Names at the top of a config that nothing reads: variables that nothing is made from, settings elsewhere.

To MMEngine every name at the top of a file is a variable, so that ``device = 'cuda'`` changes nothing without
a word. What another setting of the same chain of files is made from is a variable; the rest is said.
"""

import inspect
import logging

from mmengine.config import Config
from mmengine.runner import Runner

from mmhier.compat.config_variables import used_variables
from mmhier.engine.config_keys import TOP_LEVEL
from mmhier.suggestions import did_you_mean

logger = logging.getLogger('mmhier')

# What such names are called where they are read.
_MEANT = dict.fromkeys(
    ('device', 'devices', 'gpus', 'gpu_ids'),
    'a GPU is taken if there is one; CUDA_VISIBLE_DEVICES chooses, and an empty one leaves it out',
) | {
    name: f'the setting is {place}'
    for place, names in {
        'train_dataloader.batch_size': ('batch_size', 'samples_per_gpu'),
        'train_dataloader.num_workers': ('num_workers', 'workers', 'workers_per_gpu'),
        'train_cfg.max_epochs': ('epochs', 'num_epochs', 'max_epochs', 'total_epochs'),
        'train_cfg.max_iters': ('max_iters', 'iterations', 'num_iters'),
        'train_cfg.val_interval': ('val_interval', 'evaluation'),
        'optim_wrapper.optimizer': ('optimizer', 'optim'),
        'optim_wrapper.optimizer.lr': ('lr', 'learning_rate'),
        'optim_wrapper.optimizer.weight_decay': ('weight_decay',),
        'optim_wrapper.clip_grad': ('clip_grad', 'optimizer_config', 'grad_clip'),
        'param_scheduler': ('lr_config', 'scheduler', 'lr_scheduler'),
        'randomness.seed': ('seed', 'random_seed'),
        'load_from': ('checkpoint', 'weights', 'pretrained', 'resume_from'),
        'optim_wrapper.type (AmpOptimWrapper, or --amp)': ('amp', 'fp16'),
        'default_hooks.checkpoint': ('checkpoint_config',),
        'default_hooks.logger': ('log_config',),
        'train_dataloader.dataset': ('data', 'dataset'),
    }.items()
    for name in names
}
# What MMPose's own files set in case that somebody makes something of it.
_SPARE = {'backend_args', 'norm_cfg'}


def read_names() -> set[str]:
    """Names at the top of a config that a run reads; all others are variables of the file."""
    return set(inspect.signature(Runner.__init__).parameters) - {'self', 'cfg'} | TOP_LEVEL


def elsewhere(name: str) -> str:
    """The end of a message about a name at the top that is read under another one, or nothing."""
    return f'; {_MEANT[name]}' if name in _MEANT else ''


def say_unread(path: str, cfg: Config) -> None:
    """Say which names of a file and its bases nothing reads, and what was probably meant.

    Args:
        path: The file; one in the style of ``read_base()`` is not looked at.
        cfg: Its content.
    """
    used, read = used_variables(path), read_names()
    for name in sorted(cfg.keys() - read - used - _SPARE) if used is not None else ():
        hint = elsewhere(name) or did_you_mean(name, read)
        logger.warning(
            '%s is set in %s or a base of it, but nothing reads it and nothing is made from it%s',
            name, path, hint,
        )  # fmt: skip
