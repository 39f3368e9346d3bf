"""The selective scan in C++ for the CPU (``kernel.cpp``), built when a process first needs it and then kept.

The library is built for the processor at hand by PyTorch's own extension loader and lies in the folder of its
extensions (``TORCH_EXTENSIONS_DIR``) under a name that depends on the source, the build of PyTorch, the
processor and the compiler, so that machines may share the folder. Processes that start together wait for one
build; a build that is interrupted leaves nothing that another would take for a library. Beside the library
lies its checksum: one that does not fit it is never loaded (a cut library would end the process) but built
again, as is one that cannot be loaded. ``MMHIER_NO_CPP=1`` does without.
"""

import logging
import os
import platform
import shutil
import subprocess
import sysconfig
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from ...built_library import checksum, compiler_version, library_key, note_checksum
from ..cross_scan import NUM_DIRECTIONS
from .reference import state_dtype

logger = logging.getLogger('mmhier')

SOURCE = Path(__file__).with_name('kernel.cpp')
HEADERS = tuple(Path(__file__).with_name(name) for name in ('vectors.h', 'block.h'))
FLAGS = ('-O3', '-march=native', '-fopenmp', '-Wno-psabi')


@lru_cache(maxsize=1)
def is_available() -> str | None:
    """Build or load the library; return None, or why that cannot be done."""
    if os.environ.get('MMHIER_NO_CPP', '0') not in ('', '0'):
        return 'MMHIER_NO_CPP is set'
    if platform.system() != 'Linux':
        return f'the C++ selective scan is for Linux, this is {platform.system()}'
    try:
        _load()
    except PermissionError as error:
        return str(error)
    except (ImportError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        errors = [line for line in lines if 'error' in line.lower()] or lines
        return f'its C++ library cannot be built or loaded: {errors[0]}; install g++ and `pip install ninja`'
    _register()
    return None


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """Scan sequences; see ``dispatch.selective_scan``."""
    tensors = _cast(state_dtype(u, A), u, delta, A, B, C, D, delta_bias)
    return torch.ops.mmhier.selective_scan(*tensors, delta_softplus)


def cross_selective_scan(
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
    dt_weight: Tensor | None,
) -> Tensor:
    """Scan a map along four directions and add them up; see ``dispatch.cross_selective_scan``."""
    *tensors, dt_weight = _cast(state_dtype(x, A), x, dt, A, B, C, D, delta_bias, dt_weight)
    return torch.ops.mmhier.cross_selective_scan(*tensors, delta_softplus, dt_weight)


def _cast(dtype: torch.dtype, *tensors: Tensor | None) -> list[Tensor | None]:
    return [tensor if tensor is None else tensor.to(dtype) for tensor in tensors]


# ------------------------------------------------------------------------------------------------ building


def library_path() -> Path:
    """Return where the library of this source lies for this processor, this build of PyTorch, this compiler.

    Where there is no compiler, any will do.
    """
    from torch.utils.cpp_extension import get_default_build_root

    root = Path(os.environ.get('TORCH_EXTENSIONS_DIR') or get_default_build_root())
    facts = torch.__version__, torch.__config__.show(), _processor(), *FLAGS
    name = f'mmhier_selective_scan_{library_key(facts, (SOURCE, *HEADERS))}'
    compiler = _compiler()
    if not compiler and (found := sorted(root.glob(f'{name}_*/{name}_*.so'))):
        return found[0]
    name = f'{name}_{library_key([compiler], [])[:8]}'
    return root / name / f'{name}.so'


def _compiler() -> str:
    """Name and version of the compiler that PyTorch takes; empty without one."""
    try:
        return compiler_version()
    except (OSError, ValueError, subprocess.SubprocessError):
        return ''


def _processor() -> str:
    """Describe what ``-march=native`` depends on."""
    facts = [platform.machine()]
    try:
        lines = Path('/proc/cpuinfo').read_text().split('\n\n')[0].splitlines()
    except OSError:
        lines = []
    names = ('model name', 'flags', 'Features', 'CPU implementer', 'CPU part')
    return '\n'.join(facts + [line for line in lines if line.startswith(names)])


def _load() -> None:
    """Load the library, after building it if it is missing, damaged or of no use."""
    library = library_path()
    found, fault = _try(library)
    if not fault:
        return
    with _locked(library.with_suffix('.lock')):
        if checksum(library) not in (None, found):  # another process was faster
            fault = _try(library)[1]
        if fault:
            _build(library, fault)


def _try(library: Path) -> tuple[str | None, str | None]:
    """Load the library if it is whole; return its checksum, and None or why it is not loaded."""
    if not library.exists():
        return None, 'there is none yet'
    found = checksum(library)
    if found is None:
        return None, 'the one that is there is damaged'
    try:
        torch.ops.load_library(str(library))
    except OSError as error:
        return found, f'the one that is there cannot be loaded ({error})'
    return found, None


@contextmanager
def _locked(path: Path):
    """Hold a lock that the system takes back when the process ends, however it ends.

    Raises:
        PermissionError: If the folder cannot be written.
    """
    import fcntl

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open('w')
    except OSError as error:
        raise PermissionError(
            f'its C++ library cannot be built in {path.parent} ({error.strerror}); set TORCH_EXTENSIONS_DIR '
            'to a folder that can be written'
        ) from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(library: Path, reason: str) -> None:
    """Build the library and load it; it appears at its path only when it is whole."""
    from torch.utils import cpp_extension

    level = logging.WARNING if library.exists() else logging.INFO
    logger.log(level, 'building the C++ selective scan, once for this machine: %s; %s', library, reason)
    folder = library.with_suffix('.build')
    shutil.rmtree(
        folder, ignore_errors=True
    )  # of a build that was interrupted: only the lock's holder is here
    folder.mkdir()
    with _scripts_on_path():
        cpp_extension.load(
            library.stem,
            [str(SOURCE)],
            extra_cflags=list(FLAGS),
            build_directory=str(folder),
            is_python_module=False,
        )
    built = folder / library.name
    with built.open('rb') as file:  # or a machine that stops now leaves an empty file of the right name
        os.fsync(file.fileno())
    note_checksum(built, library)
    built.replace(library)
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _scripts_on_path():
    """Let the loader find the ninja of this Python, whether or not its environment has been activated."""
    path = os.environ.get('PATH', '')
    os.environ['PATH'] = os.pathsep.join((sysconfig.get_path('scripts'), path))
    try:
        yield
    finally:
        os.environ['PATH'] = path


# ------------------------------------------------------------------------------------------------ operators


def _register() -> None:
    """Tell torch.compile the shapes and autograd the formulas of the library's operators."""
    register_fake, register_autograd = torch.library.register_fake, torch.library.register_autograd
    register_fake('mmhier::selective_scan', lambda u, *_: torch.empty_like(u, memory_format=DENSE))
    register_fake('mmhier::cross_selective_scan', lambda x, *_: torch.empty_like(x, memory_format=DENSE))
    register_fake('mmhier::selective_scan_backward', _fake_backward)
    register_fake('mmhier::cross_selective_scan_backward', _fake_cross_backward)
    register_autograd('mmhier::selective_scan', _backward, setup_context=_save)
    register_autograd('mmhier::cross_selective_scan', _cross_backward, setup_context=_save)
    for name in ('mmhier::selective_scan_backward', 'mmhier::cross_selective_scan_backward'):
        register_autograd(name, _second_derivative)


DENSE = torch.contiguous_format


def _fake_backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    u, delta, A, B, C = inputs[:5]
    shapes = *(t.shape for t in (u, delta, A, B, C)), A.shape[:1], A.shape[:1]
    return tuple(dy.new_empty(shape) for shape in shapes)


def _fake_cross_backward(dy: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    x, _, A, B, C = inputs[:5]
    shapes = x.shape, (*B.shape[:4], x.shape[-1]), A.shape, B.shape, C.shape, A.shape[:1], A.shape[:1]
    return tuple(dy.new_empty(shape) for shape in shapes)


def _save(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:7], *inputs[8:])
    ctx.softplus = inputs[7]


def _backward(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
    inputs = ctx.saved_tensors
    grads = torch.ops.mmhier.selective_scan_backward(dy, *inputs, ctx.softplus)
    return *_of_inputs(grads, inputs), None


def _cross_backward(ctx, dy: Tensor) -> tuple[Tensor | None, ...]:
    *inputs, weight = ctx.saved_tensors
    grads = torch.ops.mmhier.cross_selective_scan_backward(dy, *inputs, ctx.softplus, weight)
    dx, ddt, *others = _of_inputs(grads, inputs)
    dweight = None
    if weight is not None:
        # With the shorter dimension first: the other way takes seven times as long on MKL.
        dweight = torch.einsum('bhwkr,bhwkd->krd', inputs[1], ddt).transpose(1, 2).flatten(0, 1)
        ddt = torch.einsum('bhwkd,kdr->bhwkr', ddt, weight.unflatten(0, (NUM_DIRECTIONS, -1)))
    return dx, ddt, *others, None, dweight


def _of_inputs(grads: tuple[Tensor, ...], inputs: tuple[Tensor | None, ...]) -> list[Tensor | None]:
    return [None if tensor is None else grad for grad, tensor in zip(grads, inputs, strict=True)]


def _second_derivative(ctx, *grads: Tensor) -> None:
    raise NotImplementedError("the C++ selective scan has no second derivative: use backend='torch'")
