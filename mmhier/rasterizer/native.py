"""The rasteriser's loops in C++ (``kernel.cpp``), built in a second when first needed, then kept.

The library lies in ``native`` of :mod:`mmhier.user_cache` under a name made of its source, the flags, the
system and the compiler's version, its checksum beside it. Without a compiler, or with ``MMHIER_NO_CPP=1``,
NumPy does the same, bit for bit, more slowly. The calls let go of Python's lock, so that drawing runs beside
other threads.
"""

import ctypes
import logging
import os
import platform
import subprocess
from functools import lru_cache
from pathlib import Path

import numpy as np

from mmhier.atomic import new_file
from mmhier.built_library import checksum, compiler, compiler_version, library_key, note_checksum
from mmhier.parts import Problem
from mmhier.user_cache import part

logger = logging.getLogger('mmhier')

SOURCE = Path(__file__).with_name('kernel.cpp')
# Contraction would round otherwise than NumPy does.
FLAGS = ('-O3', '-std=c++17', '-shared', '-fPIC', '-ffp-contract=off')


def _array(dtype: type) -> type:
    return np.ctypeslib.ndpointer(dtype, flags='C_CONTIGUOUS')


_FLOATS, _FACES = _array(np.float32), _array(np.int64)
_OBJECTS, _DRAWN = _array(np.int16), _array(np.int32)
_SIGNATURES = dict(
    mmhier_draw=(
        _FLOATS, _FACES, ctypes.c_int64, ctypes.c_int32, ctypes.c_int32, ctypes.c_float, ctypes.c_int16,
        _FLOATS, _OBJECTS, _DRAWN, _FLOATS,
    ),
    mmhier_average=(
        _OBJECTS, _DRAWN, _FLOATS, ctypes.c_int32, ctypes.c_int32, ctypes.c_int32, _FACES, ctypes.c_int64,
        _FLOATS, _FLOATS, _FLOATS,
    ),
)  # fmt: skip


def library() -> ctypes.CDLL | None:
    """The library, built if it has to be; None, with one line in the log, where that cannot be done."""
    return _found()[0]


def fault() -> str | None:
    """Why there is no library; None if there is one."""
    return _found()[1]


def check() -> str:
    """Where the library is, for ``mmhier doctor``.

    Raises:
        Problem: If there is none.
    """
    if library() is None:
        raise Problem(f'bodies are drawn by NumPy, several times slower: {fault()}')
    return f'C++, in {library_path().parent}'


@lru_cache(maxsize=1)
def _found() -> tuple[ctypes.CDLL | None, str | None]:
    if os.environ.get('MMHIER_NO_CPP', '0') not in ('', '0'):
        return None, 'MMHIER_NO_CPP is set'
    try:
        return _load(library_path()), None
    except (OSError, AttributeError, ValueError, subprocess.SubprocessError) as error:
        lines = (getattr(error, 'stderr', None) or str(error)).strip().splitlines() or [type(error).__name__]
        said = next((line for line in lines if 'error' in line), lines[0])
        logger.info('pictures are drawn by NumPy, several times slower; install g++ to use C++: %s', said)
        return None, said


def library_path() -> Path:
    """Where the library of this source lies, for this system and compiler."""
    facts = *FLAGS, platform.system(), platform.machine(), compiler_version()
    return part('native') / f'rasterizer_{library_key(facts, [SOURCE])}.so'


def _load(path: Path) -> ctypes.CDLL:
    if checksum(path) is None:
        # Whole and on the disk before it has its name: half a library would end the process.
        with new_file(path, durable=True) as temporary:
            command = [*compiler(), *FLAGS, str(SOURCE), '-o', str(temporary)]
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
            note_checksum(temporary, path)
    loaded = ctypes.CDLL(str(path))
    for name, kinds in _SIGNATURES.items():
        function = getattr(loaded, name)
        function.argtypes, function.restype = kinds, None
    return loaded
