"""Start a run under torch.distributed, on GPUs as MMEngine does and on CPUs, which MMEngine does not."""

import os

import torch
import torch.distributed as dist
from mmengine.config import Config


def prepare_distributed(cfg: Config) -> None:
    """Let ``cfg`` run on a machine without GPU under ``--launcher pytorch``.

    MMEngine's launcher selects a CUDA device unconditionally. Without CUDA the process group is set up
    here with gloo, which MMEngine then accepts as it is, and the model is wrapped without a device id.
    """
    if cfg.get('launcher', 'none') != 'pytorch' or torch.cuda.is_available():
        return
    missing = [name for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK') if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher pytorch needs {", ".join(missing)} in the environment; start with torchrun, '
            'tools/dist_train.sh or tools/dist_test.sh'
        )
    if not dist.is_initialized():
        dist.init_process_group('gloo')
    wrapper = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **cfg.get('model_wrapper_cfg', {})}


def finish_distributed() -> None:
    """Wait for the other processes and take the process group down; nothing without one.

    A process that ends with its group alive can be aborted by the group's own threads (gloo: "terminate
    called without an active exception"), and a run that has succeeded is then reported as failed.
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()
