"""When a tensor that a module has just returned may be overwritten.

Adding a residual into its branch saves a pass over memory, but whoever keeps what the branch returned
(forward hooks of feature distillation and Grad-CAM, recorders of operators) would see it change. It is done
only without gradients, where no hook, no mode and no tracer can have seen the tensor, and only if the module
is known to return memory of its own.

A class says so by ``result_of``: None if its result is new memory, or the name of the part whose result it
returns. Other classes, subclasses included, are taken to return what somebody else may hold.
"""

import torch
from torch import Tensor, nn

RETURNS_NEW = (nn.BatchNorm2d, nn.LayerNorm)


def add(x: Tensor, branch: Tensor, *modules: nn.Module) -> Tensor:
    """Compute ``x + branch``, in the memory of ``branch`` where nobody can see it.

    Args:
        x: Any shape.
        branch: The same shape.
        modules: What ``branch`` came through, the last first. Without any, the caller made it by an operator.
    """
    if branch.dtype == x.dtype and may_overwrite(*modules):
        return branch.add_(x)
    return x + branch


def may_overwrite(*modules: nn.Module) -> bool:
    """Whether nobody else can hold a tensor that came through these modules, the last first."""
    return not (torch.is_grad_enabled() or _is_watched()) and _is_new(modules)


def _is_watched() -> bool:
    """Whether somebody records operators, or the results of all modules."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._len_torch_dispatch_stack() > 0
        or torch._C._len_torch_function_stack() > 0
        or bool(nn.modules.module._global_forward_hooks)
    )


def _is_new(modules: tuple[nn.Module, ...]) -> bool:
    for module in modules:
        while not _has_hook(module):
            kind = type(module)
            if kind is nn.Identity:
                break  # to the module before it
            if kind in RETURNS_NEW:
                return True
            if kind is nn.Sequential:
                if not len(module):
                    return False
                module = module[-1]
            elif 'result_of' not in vars(kind):
                return False
            elif kind.result_of is None:
                return True
            else:
                module = getattr(module, kind.result_of)
        else:
            return False
    return True


def _has_hook(module: nn.Module) -> bool:
    return bool(module._forward_hooks) or 'forward' in vars(module)
