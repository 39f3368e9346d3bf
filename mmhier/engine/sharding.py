"""Training of models that are too large for one device: each process keeps its rows of every tensor.

PyTorch's ``fully_shard`` (FSDP2) divides parameters, gradients and the state of the optimizer. A unit, such
as a block of the encoder, is put together when it is needed and divided again afterwards. The model stays the
module that it was, with the same names, so optimizer constructors, hooks and checkpoints know it as before.

MMEngine's ``FSDPStrategy`` belongs to another runner, whose runs do not resume exactly. With PyTorch 2.13 on
CPUs it wraps no model (it asks for an accelerator), and given the device ends in a segmentation fault when it
saves whole weights. Its other checkpoints hold objects that need code to be read, and are for one number of
processes.

Checkpoints that a run goes on from are in parts (:mod:`mmhier.checkpoint_parts`), which all commands read as
whole ones; weights alone, as of the best checkpoint, are one file.
"""

import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, get_world_size
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.registry import MODEL_WRAPPERS
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard

from mmhier.atomic import new_file
from mmhier.checkpoint_parts import DIVIDED, is_divided, part_path, parts_of
from mmhier.compat.checkpoint import load_checkpoint_file


@MODEL_WRAPPERS.register_module()
class FullyShardedModel:
    """What ``model_wrapper_cfg`` says of a sharded training.

    Args:
        blocks: Names of the classes whose modules are units, such as ``'Block'`` of ``ViT``. What is in none
            is one more unit.
        reshard_after_forward: Whether a unit is divided again between forward and backward: less memory, and
            half as much communication again.

    Raises:
        ValueError: If no class is named.
    """

    def __init__(self, blocks: str | list[str] = 'Block', reshard_after_forward: bool = True):
        self.blocks = (blocks,) if isinstance(blocks, str) else tuple(blocks)
        self.reshard_after_forward = reshard_after_forward
        if not self.blocks:
            raise ValueError('model_wrapper_cfg.blocks is empty: name the classes of blocks, such as Block')

    def shard(self, model: nn.Module) -> nn.Module:
        """Divide a model, whose weights are the same in all processes, in place.

        Raises:
            ValueError: If it has no modules of these classes.
        """
        modules = list(model.modules())
        units = [module for module in modules if type(module).__name__ in self.blocks]
        if not units:
            known = sorted({type(module).__name__ for module in modules if next(module.children(), None)})
            raise ValueError(
                f'model_wrapper_cfg.blocks: the model has no module of classes {list(self.blocks)}; those '
                f'with parts are {", ".join(known)}'
            )
        mesh = init_device_mesh(torch.device(get_device()).type, (get_world_size(),))
        for unit in units:
            fully_shard(unit, mesh=mesh, reshard_after_forward=self.reshard_after_forward)
        return fully_shard(model, mesh=mesh)


def sharding_of(described: Mapping[str, Any] | None) -> FullyShardedModel | None:
    """Settings of a sharded training; None if ``model_wrapper_cfg`` says something else."""
    if not described or described.get('type') not in (FullyShardedModel.__name__, FullyShardedModel):
        return None
    return MODEL_WRAPPERS.build(dict(described))


def check_sharding(cfg: Config) -> None:
    """Refuse what does not go with a sharded training.

    Raises:
        ValueError: With the key of the config and what to do.
    """
    if sharding_of(cfg.get('model_wrapper_cfg')) is None:
        return
    wrapper, where = cfg.get('optim_wrapper') or {}, 'with model_wrapper_cfg.type=FullyShardedModel'
    if wrapper.get('type') == 'AmpOptimWrapper' and wrapper.get('dtype') not in ('bfloat16', torch.bfloat16):
        raise ValueError(
            f'mixed precision {where} needs optim_wrapper.dtype=bfloat16: the scaling of losses that float16 '
            'needs is not shared by the processes'
        )
    if cfg.get('compile'):
        raise ValueError(f'compile {where} is not supported: leave it out')
    hooks = [*(cfg.get('custom_hooks') or ()), *(cfg.get('default_hooks') or {}).values()]
    kinds = [str(hook.get('type')).split('.')[-1] for hook in hooks if isinstance(hook, Mapping)]
    if 'EMAHook' in kinds:
        raise ValueError(
            f'EMAHook {where} is not supported: it would average what one process has. Leave it out'
        )
    saver = (cfg.get('default_hooks') or {}).get('checkpoint') or {}
    if saver and str(saver.get('type')).split('.')[-1] not in ('CheckpointHook', 'ExactCheckpointHook'):
        raise ValueError(
            f'default_hooks.checkpoint.type={saver.get("type")!r} {where} is not supported: it saves what '
            'one process has. Take CheckpointHook'
        )
    key = 'default_hooks.checkpoint'
    remote = {
        f'{key}.backend_args': saver.get('backend_args'),
        f'{key}.file_client_args': saver.get('file_client_args'),
        f'{key}.out_dir': '://' in str(saver.get('out_dir')),
        'work_dir': '://' in str(cfg.get('work_dir')),
    }
    for key in (key for key, is_remote in remote.items() if is_remote):
        raise ValueError(
            f'{key} {where} is not supported: each process writes its part into a folder that all of them see'
        )


class WholeForEvaluation(Hook):
    """Keeps a sharded model together in evaluation, where processes may have different numbers of batches."""

    priority = 'VERY_HIGH'

    def __init__(self, sharding: FullyShardedModel):
        self.sharding = sharding

    def before_val(self, runner: Any) -> None:
        """Put it together."""
        for unit in _units(runner.model):
            unit.set_reshard_after_forward(False, recurse=False)
            unit.unshard()

    def after_val(self, runner: Any) -> None:
        """Divide it again."""
        for unit in _units(runner.model):
            unit.set_reshard_after_forward(
                unit is not runner.model and self.sharding.reshard_after_forward, recurse=False
            )
            unit.reshard()


def _units(model: nn.Module) -> list[FSDPModule]:
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def divide(model: nn.Module) -> None:
    """See to it that a sharded model is not together, whatever was done with it; nothing for others."""
    for unit in _units(model):
        unit.reshard()


def write_part(path: str | Path, content: Any) -> dict[str, Any]:
    """Write this process's part of a checkpoint; all processes at the same time.

    Args:
        path: Of its first file, which the caller writes afterwards.
        content: Of this process, with divided tensors.

    Returns:
        What the first file has to say of the parts.

    Raises:
        OSError: In all processes, if one of them cannot write, or the first does not see all parts.
    """
    token = [secrets.token_hex(8)]
    broadcast_object_list(token)
    problem = None
    try:
        with new_file(part_path(path, token[0], get_rank()), durable=True) as temporary:
            torch.save(_change(content, DTensor, _as_rows), temporary)
    except OSError as error:
        problem = str(error)
    found = [problem for problem in all_gather_object(problem) if problem]
    if found:
        raise OSError(f'checkpoint {path} cannot be written: {found[0]}')
    named = {'count': get_world_size(), 'token': token[0]}
    missing = [None]
    if get_rank() == 0:
        paths = (part_path(path, token[0], number) for number in range(named['count']))
        missing = [next((str(part) for part in paths if not part.is_file()), None)]
    broadcast_object_list(missing)
    if missing[0]:
        raise OSError(
            f'{missing[0]}, which another process wrote, is not seen by the first one: work_dir has to be a '
            'folder that all machines share'
        )
    return named


def gather(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole weights, in the first process; all take part, tensor by tensor."""
    whole = {}
    for name, value in state_dict.items():
        value = value.full_tensor() if isinstance(value, DTensor) else value
        if get_rank() == 0:
            whole[name] = value.cpu()
    return whole


def read_own_part(path: str | Path) -> dict[str, Any] | None:
    """Read what this process wrote of a checkpoint in parts, divided as it was.

    Returns:
        None if it is whole, or of another number of processes; errors as of
        :func:`mmhier.compat.checkpoint.load_checkpoint_file`.
    """
    if not Path(path).is_file():
        return None  # an address
    content = load_checkpoint_file(path, whole=False)
    parts = parts_of(content, path)
    if len(parts) != get_world_size():
        return None
    device = get_device()
    mesh = init_device_mesh(torch.device(device).type, (get_world_size(),))
    own = load_checkpoint_file(parts[get_rank()])

    def put_together(value: Mapping) -> DTensor:
        return _of_rows(value['rows'].to(device), torch.empty(value['shape'], device='meta'), mesh)

    return {**content, **_change(own, is_divided, put_together)}


def divide_checkpoint(checkpoint: dict[str, Any], model: nn.Module, optimizers: Any) -> None:
    """Divide the tensors of a whole checkpoint as those of the model are, in place.

    Args:
        checkpoint: Weights alone, or what a run goes on from.
        model: A sharded one.
        optimizers: Its optimizer wrapper.
    """
    own = {name: value for name, value in model.state_dict().items() if isinstance(value, DTensor)}
    weights = checkpoint.get('state_dict', checkpoint)
    for name, value in weights.items():
        like = own.get(name.removeprefix('module.'))
        if like is not None and isinstance(value, Tensor) and value.shape == like.shape:
            weights[name] = _rows_like(value, like)
    if 'optimizer' in checkpoint:
        for wrapper, state in _pairs(optimizers, checkpoint['optimizer']):
            parameters = [one for group in wrapper.optimizer.param_groups for one in group['params']]
            for number, parameter in enumerate(parameters):
                values = state['state'].get(number, {}) if isinstance(parameter, DTensor) else {}
                for key, value in values.items():
                    if isinstance(value, Tensor) and value.shape == parameter.shape:
                        values[key] = _rows_like(value, parameter)


def _pairs(optimizers: Any, state: Mapping[str, Any]) -> list[tuple[OptimWrapper, Any]]:
    if isinstance(optimizers, OptimWrapperDict):
        return [(wrapper, state[name]) for name, wrapper in optimizers.items() if name in state]
    return [(optimizers, state)]


def own_rows(tensor: Tensor) -> Tensor:
    """What this process has of a tensor, which may be divided."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def with_rows(rows: Tensor, like: Tensor) -> Tensor:
    """The tensor of which this process has these rows, divided as another one of its shape is, or not."""
    return _of_rows(rows, like, like.device_mesh) if isinstance(like, DTensor) else rows


def _as_rows(value: DTensor) -> dict[str, Any]:
    rows = value.to_local().detach().cpu().clone()
    return dict(zip(DIVIDED, (list(value.shape), rows), strict=True))


def _rows_like(whole: Tensor, like: DTensor) -> DTensor:
    """Divide a whole tensor as another one is: into equal pieces, of which the last ones may have less."""
    pieces, number = whole.chunk(like.device_mesh.size()), like.device_mesh.get_local_rank()
    rows = pieces[number] if number < len(pieces) else whole[:0]
    return with_rows(rows.to(like.device, copy=True), like)


def _of_rows(rows: Tensor, like: Tensor, mesh: Any) -> DTensor:
    return DTensor.from_local(rows, mesh, [Shard(0)], run_check=False, shape=like.shape, stride=like.stride())


def _change(tree: Any, which: type | Callable[[Any], bool], change: Callable) -> Any:
    """Replace leaves of nested dictionaries and lists."""
    if isinstance(tree, which) if isinstance(which, type) else which(tree):
        return change(tree)
    if isinstance(tree, Mapping):
        return {key: _change(value, which, change) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)(_change(value, which, change) for value in tree)
    return tree
