"""Checkpoints are read without executing anything that is in them.

A PyTorch checkpoint is a pickle, and a pickle is a program. MMEngine 0.10 fails to read its own checkpoints
under torch >= 2.6, where ``weights_only`` became the default; MMEngine 0.11 turns the protection off. Here
every route of MMEngine's loader reads with ``weights_only=True`` and a literal list of names
(:mod:`mmhier.compat.checkpoint_objects`), which is what MMEngine itself writes. Anything else is refused with
the list of what the file asks for, found by reading its instructions, not by following them.

Trusted or not, a file has to be whole: bytes that changed since it was written are found where it has
checksums (:mod:`mmhier.compat.torch_archive`), and no size that it claims is believed. Values that lie in one
another deeper than :data:`MAX_NESTING` are refused; the hash of such a tuple would end the process.

Trust a file explicitly with ``MMHIER_TRUST_CHECKPOINT=1`` in the environment, with ``--trust-checkpoint`` of
the tools, or with :func:`trust_checkpoints`.

Unnecessary once MMEngine reads with ``weights_only=True`` and a list of its own.
"""

import _compat_pickle
import hashlib
import logging
import os
import pickle
import pickletools
import re
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from types import ModuleType
from typing import Any, BinaryIO

import torch

from mmhier.compat.checkpoint_objects import OBJECTIONS, stand_ins, to_plain
from mmhier.compat.torch_archive import TorchArchive
from mmhier.safe_files import Bounded, open_file

logger = logging.getLogger('mmhier')

TRUST_VARIABLE = 'MMHIER_TRUST_CHECKPOINT'
HOW_TO_TRUST = f'If you trust its origin, set {TRUST_VARIABLE}=1 or pass --trust-checkpoint to the tools.'

# What looks like the name of released weights: words with dashes, no dots, no folders.
NAME = r'[a-z0-9]+(-[a-z0-9]+)+$'

# First pickle of a file written by torch before 1.6; four more follow it, then the raw numbers.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PICKLES = 5

MAX_NESTING = 200
_PUT = ('MEMOIZE', 'PUT', 'BINPUT', 'LONG_BINPUT')
_GET = ('GET', 'BINGET', 'LONG_BINGET')
_FILL = ('APPEND', 'APPENDS', 'SETITEM', 'SETITEMS', 'ADDITEMS', 'BUILD')

_lock = threading.RLock()


class UntrustedCheckpointError(ValueError):
    """A checkpoint holds more than weights and MMEngine's own bookkeeping."""


def trust_checkpoints() -> None:
    """From now on, read checkpoints that can execute code, in this process and those it starts."""
    os.environ[TRUST_VARIABLE] = '1'


def is_trusted() -> bool:
    """Whether the user has said that checkpoints may execute code."""
    return os.environ.get(TRUST_VARIABLE, '').strip().lower() in ('1', 'true', 'yes', 'on')


def load_checkpoint_file(path: str | PathLike, map_location: Any = 'cpu') -> Any:
    """Read a checkpoint file without executing anything in it.

    Args:
        path (str | PathLike): A file written by ``torch.save`` or, by its ending, a ``.safetensors`` file.
        map_location (Any): Where tensors go, as for ``torch.load``.

    Returns:
        Any: What was saved, usually a dictionary.

    Raises:
        FileNotFoundError: There is no such file.
        UntrustedCheckpointError: The file needs names that are not on the list, and is not trusted.
        ValueError: The file is truncated, corrupt or not a checkpoint.
    """
    path = os.path.expanduser(os.fspath(path))
    try:
        with open_file(path) as file:
            if not path.endswith('.safetensors'):
                return _load(file, path, map_location)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'checkpoint {path} does not exist') from error
    return _load_safetensors(path, map_location)


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> Any:
    """Download a checkpoint, once, and read it with :func:`load_checkpoint_file`.

    Takes the arguments of ``torch.hub.load_state_dict_from_url`` and keeps the file in the same place. A hash
    in the name (``-62d7a712.pth``, or with OpenMMLab's date, ``-62d7a712_20230314.pth``) is compared with
    what was downloaded.

    Raises:
        ValueError: With ``check_hash`` if the name has no hash or the file has another one, and the file is
            not kept. Without it another hash is a warning, since some files were replaced under their names.
    """
    folder = model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints')
    name = file_name or os.path.basename(url.partition('?')[0].partition('#')[0])
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        os.makedirs(folder, exist_ok=True)
        logger.info('downloading %s to %s', url, path)
        known = _hash_in(name)
        if check_hash and known is None:
            raise ValueError(f'{name} has no hash in its name to check: download it without check_hash')
        torch.hub.download_url_to_file(url, path, progress=progress)
        if known is not None:
            found = _sha256(path)
            if not found.startswith(known):
                problem = f'{url} has the SHA-256 {found}, its name says {known}...: damaged, or replaced'
                if check_hash:
                    os.unlink(path)
                    raise ValueError(problem)
                logger.warning('%s; kept as %s', problem, path)
    return _with_weights(load_checkpoint_file(path, map_location), path)


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _hash_in(name: str) -> str | None:
    """First digits of the SHA-256 that a file name ends in, before OpenMMLab's date if there is one."""
    found = re.search(r'-([0-9a-f]{8,64})(_\d{8})?\.', name)
    return found[1] if found and not re.fullmatch(r'20\d{6}', found[1]) else None


def load_like_torch(file: str | PathLike | BinaryIO, map_location: Any = None, **ignored: Any) -> Any:
    """Stand in for ``torch.load`` inside MMEngine's loader, whatever ``weights_only`` it asks for."""
    if isinstance(file, (str, PathLike)):
        return _with_weights(load_checkpoint_file(file, map_location), os.fspath(file))
    return _with_weights(_load(file, 'in memory', map_location), 'in memory')


def _with_weights(checkpoint: Any, name: str) -> dict[str, Any]:
    """Make sure that MMEngine finds what it takes for granted: weights by name, bare or as ``state_dict``."""
    weights = checkpoint.get('state_dict', checkpoint) if isinstance(checkpoint, dict) else checkpoint
    wrong = None if isinstance(weights, dict) else f'the type {type(weights).__name__}'
    for key, value in () if wrong else weights.items():
        if not isinstance(key, str):
            wrong = f'the key {key!r}'
        elif not isinstance(value, torch.Tensor) and not key.endswith('_extra_state'):
            # Bare ones may lie beside the number of the epoch and the like.
            wrong = wrong if weights is checkpoint else f'{key!r} of the type {type(value).__name__}'
    if wrong:
        raise ValueError(f'checkpoint {name} holds {wrong} instead of weights by name')
    return checkpoint


def check_plain(file: BinaryIO, name: str) -> None:
    """Make sure that a file can be read by whoever falls back to ``weights_only=False``: without stand-ins.

    Raises:
        UntrustedCheckpointError: It needs more than torch itself allows.
        ValueError: It is truncated, corrupt or not a checkpoint.
    """
    problem, asked = _inspect(file, name)
    names = sorted(asked - set(torch._weights_only_unpickler._get_allowed_globals()))
    if problem or names:
        raise UntrustedCheckpointError(f'{name}: {problem or "it asks for " + ", ".join(names)}')
    file.seek(0)
    try:
        torch.load(file, map_location='cpu', weights_only=True)
    except Exception as error:
        raise UntrustedCheckpointError(f'{name}: {_reason(error)}') from error


def named_globals(stream: BinaryIO | Bounded | bytes) -> set[str]:
    """Names that the pickle at the position of ``stream`` would import, found without running it.

    Raises:
        ValueError: The stream is not a whole pickle, or nests values more than :data:`MAX_NESTING` deep.
    """
    found, texts, memo, protocol, nesting = set(), [], {}, 0, _Nesting()
    for code, value, _ in pickletools.genops(stream):
        nesting.follow(code, value)
        if code.name == 'PROTO':
            protocol = value
        elif code.name in ('GLOBAL', 'INST'):
            found.add(_today(*value.split(' ', 1), protocol))
        elif code.name == 'STACK_GLOBAL':
            found.add('.'.join(texts[-2:]))
        elif code.name.startswith('EXT'):
            found.add(f'copyreg extension {value}')
        elif code.name in _PUT:
            memo[len(memo) if value is None else int(value)] = texts[-1] if texts else '?'
        elif code.name in _GET:
            texts.append(memo.get(int(value), '?'))
        elif isinstance(value, str):
            texts.append(value)
    return found


class _Nesting:
    """How deep the values on a pickle's stack are, followed without making them.

    What is put into a list or dictionary after it went into another one is not counted for the other one.
    """

    def __init__(self) -> None:
        self._stack: list[int | None] = []  # None: a mark
        self._memo: dict[int, int] = {}

    def follow(self, code: pickletools.OpcodeInfo, value: Any) -> None:
        """Do to the depths what an instruction does to the values."""
        stack = self._stack
        try:
            if code.name == 'MARK':
                stack.append(None)
            elif code.name in _PUT:
                self._memo[len(self._memo) if value is None else int(value)] = stack[-1] or 0
            elif code.name in _GET:
                stack.append(self._memo[int(value)])
            elif code.name == 'DUP':
                stack.append(stack[-1])
            else:
                self._replace(code)
        except LookupError as error:
            raise ValueError(f'its instruction {code.name} finds nothing to work on') from error

    def _replace(self, code: pickletools.OpcodeInfo) -> None:
        """Take what an instruction takes from the stack, and put what it makes of it."""
        items, wanted = [], list(code.stack_before)
        if pickletools.markobject in wanted:
            while (item := self._stack.pop()) is not None:
                items.append(item)
            wanted = wanted[: wanted.index(pickletools.markobject)]
        items += [self._stack.pop() or 0 for _ in wanted]
        depth = 1 + max(items, default=-1)
        if code.name in _FILL:
            depth = max(items[-1], 1 + max(items[:-1], default=-1))
        if depth > MAX_NESTING:
            raise ValueError(f'its values lie in one another more than {MAX_NESTING} deep')
        self._stack += [depth] * len(code.stack_after)


def _today(module: str, name: str, protocol: int) -> str:
    """Full name in Python 3 of a global in an old pickle (``__builtin__`` -> ``builtins``)."""
    if protocol < 3:
        if (module, name) in _compat_pickle.NAME_MAPPING:
            module, name = _compat_pickle.NAME_MAPPING[module, name]
        else:
            module = _compat_pickle.IMPORT_MAPPING.get(module, module)
    return f'{module}.{name}'


def _load(file: BinaryIO, name: str, map_location: Any) -> Any:
    """Read an open checkpoint; the same checks for files and buffers."""
    problem, asked = _inspect(file, name)
    if not problem:
        file.seek(0)
        try:
            with _allowed_globals():
                return to_plain(torch.load(file, map_location=map_location, weights_only=True))
        except Exception as error:
            names = sorted(asked - _known_globals())
            problem = f'it asks for {", ".join(names)}' if names else _reason(error)
            if not names and not _is_refusal(error):
                raise ValueError(f'checkpoint {name} cannot be read: {problem}') from error
    if not is_trusted():
        raise UntrustedCheckpointError(
            f'checkpoint {name} is refused and nothing in it has been executed: {problem}. '
            f'Reading it in full could run any code. {HOW_TO_TRUST}'
        )
    logger.warning('%s is read without protection, because %s is set: %s', name, TRUST_VARIABLE, problem)
    file.seek(0)
    return torch.load(file, map_location=map_location, weights_only=False)


def _inspect(file: BinaryIO, name: str) -> tuple[str, set[str]]:
    """Tell what kind of file this is, as torch will: by its first bytes.

    Returns:
        tuple[str, set[str]]: Why its kind cannot be read safely (empty: it can), and the names it asks for.

    Raises:
        ValueError: It is no checkpoint, or not a whole one.
    """
    file.seek(0)
    start = file.read(16)
    if not start:
        raise ValueError(f'checkpoint {name} is empty (0 bytes)')
    try:
        if start.startswith(b'PK\x03\x04'):
            return _inspect_zip(file, name)
        if _is_tar(file):
            return 'it is a tar archive (written by torch before 0.4), which has no safe reader', set()
        return '', _inspect_legacy(file)
    except (ValueError, RuntimeError, LookupError, OverflowError, MemoryError) as error:
        known = start.startswith((b'PK\x03\x04', b'\x80'))
        raise ValueError(
            f'checkpoint {name} is truncated or corrupt: {_reason(error)}'
            if known
            else f'{name} is not a checkpoint, it starts with {start!r} (a web page or a Git LFS pointer?)'
        ) from error


def _inspect_zip(file: BinaryIO, name: str) -> tuple[str, set[str]]:
    """Look into a file written by torch >= 1.6, through the reader that torch will use."""
    archive = TorchArchive(file, 'the archive', name)
    if 'constants.pkl' in archive.records:
        return 'it is a TorchScript archive, which is a program', set()
    if 'data.pkl' not in archive.records:
        raise ValueError(f'no data.pkl in the archive, only {archive.records[:5]}')
    return '', named_globals(archive.read('data.pkl'))


def _inspect_legacy(file: BinaryIO) -> set[str]:
    """Look into a plain pickle, or the five of a file written by torch before 1.6."""
    file.seek(0)
    stream = Bounded(file)
    first = [value for code, value, _ in pickletools.genops(stream) if isinstance(value, int)]
    count = LEGACY_PICKLES if LEGACY_MAGIC in first else 1
    file.seek(0)
    return set().union(*(named_globals(stream) for _ in range(count)))


def _is_tar(file: BinaryIO) -> bool:
    """Whether torch would take this for a tar archive."""
    file.seek(0)
    try:
        with tarfile.open(fileobj=Bounded(file), mode='r:', format=tarfile.PAX_FORMAT):
            return True
    except tarfile.TarError:
        return False


def _is_refusal(error: Exception) -> bool:
    """Whether torch or a stand-in of ours objected to the content (torch 2.4 disguises all else as that)."""
    said = ('Unsupported', 'Trying to', 'Can only', 'Only persistent_load', *OBJECTIONS)
    return isinstance(error, pickle.UnpicklingError) and _reason(error).startswith(said)


def _reason(error: Exception) -> str:
    """What an error says, without torch's advice to turn the protection off."""
    text = str(error) or type(error).__name__
    inner = text.partition('WeightsUnpickler error: ')[2].strip()
    return (inner or text).partition('\n')[0]


def _load_safetensors(path: str, map_location: Any) -> dict[str, torch.Tensor]:
    """Read a .safetensors file, which holds tensors and nothing else, no checksums either."""
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError as error:
        raise ImportError(f'{path} needs safetensors. Run: pip install safetensors') from error
    try:
        tensors = load_file(path, device=str(map_location or 'cpu'))
    except (SafetensorError, OSError) as error:
        raise ValueError(f'checkpoint {path} is truncated or corrupt: {error}') from error
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise ValueError(f'checkpoint {path} is corrupt, or of a failed training: {name} holds NaN')
    return tensors


@contextmanager
def _allowed_globals() -> Iterator[None]:
    """Have torch accept our stand-ins, beside what the user has allowed, and put its list back."""
    ours = stand_ins()
    with _lock:
        before = list(torch.serialization.get_safe_globals())
        others = [item for item in before if _full_name(item) not in ours]
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals([*others, *ours.values()])
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def _full_name(item: Any) -> str:
    """The name under which torch files an allowed global, given alone or as ``(global, name)``."""
    return item[1] if isinstance(item, tuple) else f'{item.__module__}.{item.__qualname__}'


def _known_globals() -> set[str]:
    """Full names that torch accepts by itself, that the user has allowed, and that we allow."""
    unpickler = torch._weights_only_unpickler
    return {*stand_ins(), *unpickler._get_allowed_globals(), *unpickler._get_user_allowed_globals()}


class _SafeTorch(ModuleType):
    """The module ``torch`` as MMEngine's loader sees it: ``load`` is ours, the rest is torch's."""

    load = staticmethod(load_like_torch)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)


def load_by_name(name: str, map_location: Any = None) -> dict[str, Any]:
    """Read released weights by their name, for ``init_cfg`` and ``load_from``; whole models are converted.

    Raises:
        FileNotFoundError: There is neither a file nor an entry of this name.
        OSError: It cannot be fetched.
        ValueError: It is damaged, or its licence has to be accepted first.
    """
    if os.path.isfile(name):
        return load_like_torch(name, map_location)
    from mmhier.zoo.conversion import converted
    from mmhier.zoo.fetch import fetch_entry
    from mmhier.zoo.registry import find_entry

    try:
        entry = find_entry(name)
    except ValueError as error:
        raise FileNotFoundError(f'checkpoint {name} does not exist, and {error}') from error
    path = fetch_entry(entry)
    if entry.kind in ('pose', 'mesh'):
        return dict(state_dict=converted(entry, path).state_dict)
    return load_like_torch(path, map_location)


def protect(module: ModuleType) -> None:
    """Make a module of MMEngine that reads checkpoints use the functions of this file."""
    if hasattr(module, 'CheckpointLoader'):
        module.CheckpointLoader.register_scheme(NAME, load_by_name, force=True)
    if hasattr(module, 'torch'):
        module.torch = _SafeTorch('torch')
    if hasattr(module, 'load_url'):
        module.load_url = load_url
