"""Start and end a run under torch.distributed, on GPUs as MMEngine does and on CPUs, which MMEngine does not.

However a run ends, the models let go of the process group before it is taken down. The destructor of a
``DistributedDataParallel`` that outlives its group may wait, with Python's lock held, for threads of the
group that wait for that lock, and the process never ends.
"""

import atexit
import faulthandler
import gc
import os
import sys

import torch
import torch.distributed as dist
from mmengine.config import Config
from torch.nn.parallel import DistributedDataParallel

from mmhier.engine.sharding import sharding_of

# Seconds after which a process that cannot take its group down ends with status 1 all the same. Only a run
# that has failed gets there: a collective that the other processes will never join is still pending.
TEARDOWN_SECONDS = 30.0


def prepare_distributed(cfg: Config) -> None:
    """Let ``cfg`` run on a machine without GPU under ``--launcher pytorch``; see to the end of every launch.

    MMEngine's launcher selects a CUDA device unconditionally. Without CUDA the process group is set up
    here with gloo, which MMEngine then accepts as it is, and the model is wrapped without a device id.
    """
    launcher = cfg.get('launcher', 'none')
    if launcher != 'none':
        atexit.unregister(_take_down)
        atexit.register(_take_down)  # after an exception or Ctrl-C; its message has been printed by then
    if launcher == 'pytorch' and int(os.environ.get('TORCHELASTIC_RESTART_COUNT') or 0):
        _join_again(cfg)
    if launcher != 'pytorch' or torch.cuda.is_available():
        return
    missing = [name for name in ('RANK', 'WORLD_SIZE', 'LOCAL_RANK') if name not in os.environ]
    if missing:
        raise ValueError(
            f'--launcher pytorch needs {", ".join(missing)} in the environment; start with torchrun, '
            'tools/dist_train.sh or tools/dist_test.sh'
        )
    if not dist.is_initialized():
        dist.init_process_group('gloo')
    if sharding_of(cfg.get('model_wrapper_cfg')) is not None:
        return
    wrapper = dict(
        type='MMDistributedDataParallel',
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get('find_unused_parameters', False),
    )
    cfg.model_wrapper_cfg = {**wrapper, **cfg.get('model_wrapper_cfg', {})}


def _join_again(cfg: Config) -> None:
    """Set the process group up after torchrun has started all processes of a machine again.

    torchrun keeps the store in which they find each other, with the addresses of those that are dead: PyTorch
    from 2.5 to 2.13 at least (pytorch/pytorch#167288). So each attempt gets a part of the store of its own.

    Raises:
        ValueError: With several machines, which do not count the same attempts.
    """
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True' or dist.is_initialized():
        return
    if os.environ.get('GROUP_WORLD_SIZE', '1') != '1':
        raise ValueError(
            'torchrun has started a run on several machines again, whose processes would look for those that '
            'are dead. Start it with TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 in the environment and with '
            '--rdzv-backend=c10d, see docs/training.md'
        )
    backend = 'gloo'
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ['LOCAL_RANK']))  # as MMEngine does
        backend = ((cfg.get('env_cfg') or {}).get('dist_cfg') or {}).get('backend', 'nccl')
    store, rank, world_size = next(dist.rendezvous('env://'))
    store = dist.PrefixStore(f'attempt_{os.environ["TORCHELASTIC_RESTART_COUNT"]}', store)
    dist.init_process_group(backend, store=store, rank=rank, world_size=world_size)


def finish_distributed() -> None:
    """Wait for the other processes and take the process group down; nothing without one.

    A process that ends with its group alive can be aborted by the group's own threads (gloo: "terminate
    called without an active exception"), and a run that has succeeded is then reported as failed. Wrapped
    models cannot be trained any more afterwards.
    """
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
        _take_down()


def _take_down() -> None:
    """Take the process group down, models first; without waiting for anybody, since not all may be alive."""
    if not dist.is_available() or not dist.is_initialized():
        return
    faulthandler.dump_traceback_later(TEARDOWN_SECONDS, exit=True, file=sys.__stderr__)
    try:
        # Whoever still refers to a model (a runner, a hook, the frames of an exception), its parts go now.
        for thing in gc.get_objects():
            if issubclass(type(thing), DistributedDataParallel):
                thing.reducer = thing.logger = thing.process_group = None
        dist.destroy_process_group()
    finally:
        faulthandler.cancel_dump_traceback_later()
