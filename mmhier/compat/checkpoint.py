"""Checkpoints are read without executing anything that is in them.

A PyTorch checkpoint is a pickle, and a pickle is a program. MMEngine 0.10 fails to read its own checkpoints
under torch >= 2.6, where ``weights_only`` became the default; MMEngine 0.11 turns the protection off. Here
every route of MMEngine's loader reads with ``weights_only=True`` and a literal list of names
(:mod:`mmhier.compat.checkpoint_objects`), which is what MMEngine itself writes. Anything else is refused with
the list of what the file asks for, found by reading its instructions, not by following them.

Trusted or not, a file has to be whole: bytes that changed since it was written are found where it has
checksums (:mod:`mmhier.compat.torch_archive`), and no size that it claims is believed. Values that lie in one
another deeper than :data:`mmhier.safe_pickle.MAX_NESTING` are refused; the hash of such a tuple would end the
process.

Trust a file explicitly with ``MMHIER_TRUST_CHECKPOINT=1`` in the environment, with ``--trust-checkpoint`` of
the tools, or with :func:`trust_checkpoints`.

Unnecessary once MMEngine reads with ``weights_only=True`` and a list of its own.
"""

import logging
import os
import pickle
import pickletools
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

import torch
from torch import Tensor

from mmhier.checkpoint_parts import merge
from mmhier.compat.checkpoint_objects import OBJECTIONS, stand_ins, to_plain
from mmhier.compat.torch_archive import TorchArchive
from mmhier.download import Expected, addresses, download
from mmhier.folder_lock import wait_for
from mmhier.network import DownloadError, offline
from mmhier.safe_files import Bounded, file_sha256, open_file
from mmhier.safe_pickle import named_globals
from mmhier.suggestions import similar_path

logger = logging.getLogger('mmhier')

TRUST_VARIABLE = 'MMHIER_TRUST_CHECKPOINT'
HOW_TO_TRUST = f'If you trust its origin, set {TRUST_VARIABLE}=1 or pass --trust-checkpoint to the tools.'

# First pickle of a file written by torch before 1.6; four more follow it, then the raw numbers.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PICKLES = 5

_lock = threading.RLock()


class UntrustedCheckpointError(ValueError):
    """A checkpoint holds more than weights and MMEngine's own bookkeeping."""


def trust_checkpoints() -> None:
    """From now on, read checkpoints that can execute code, in this process and those it starts."""
    os.environ[TRUST_VARIABLE] = '1'


def is_trusted() -> bool:
    """Whether the user has said that checkpoints may execute code."""
    return os.environ.get(TRUST_VARIABLE, '').strip().lower() in ('1', 'true', 'yes', 'on')


def load_checkpoint_file(path: str | PathLike, map_location: Any = 'cpu', whole: bool = True) -> Any:
    """Read a checkpoint file without executing anything in it.

    Args:
        path (str | PathLike): A file written by ``torch.save`` or, by its ending, a ``.safetensors`` file.
        map_location (Any): Where tensors go, as for ``torch.load``.
        whole (bool): Put the parts into a checkpoint of a sharded training, see
            :mod:`mmhier.checkpoint_parts`.

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
            safetensors = path.endswith('.safetensors')
            content = None if safetensors else _load(file, path, map_location)
    except FileNotFoundError as error:
        raise FileNotFoundError(f'checkpoint {path} does not exist{similar_path(path)}') from error
    content = _without_nan(_load_safetensors(path, map_location) if safetensors else content, path)
    if not whole:
        return content
    return merge(content, path, partial(load_checkpoint_file, map_location=map_location, whole=False))


def _without_nan(content: Any, path: str) -> Any:
    """The content of a checkpoint in which no number is NaN.

    Raises:
        ValueError: If one is.
    """
    for name, tensor in _tensors(content, ''):
        if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_meta:
            continue
        tensor = tensor if tensor.itemsize > 1 else tensor.float()  # numbers of 8 bits cannot be compared
        if tensor.isnan().any():
            raise ValueError(f'checkpoint {path} is corrupt, or of a failed training: {name} holds NaN')
    return content


def _tensors(content: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors of a checkpoint with their places, without what was logged in training."""
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, dict | list | tuple):
        for key, child in content.items() if isinstance(content, dict) else enumerate(content):
            if name or key != 'message_hub':
                yield from _tensors(child, f'{name}.{key}' if name else str(key))


def load_url(
    url: str,
    model_dir: str | None = None,
    map_location: Any = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> Any:
    """Download a checkpoint, once, and read it with :func:`load_checkpoint_file`.

    Takes the arguments of ``torch.hub.load_state_dict_from_url`` and keeps the file in the same place; errors
    as of :func:`fetch`.
    """
    path = fetch(url, model_dir, progress, check_hash, file_name)
    return _with_weights(load_checkpoint_file(path, map_location), path)


def fetch(
    url: str,
    model_dir: str | None = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
) -> str:
    """Download a checkpoint, if it is not there, and return its path; arguments as of :func:`load_url`.

    A hash in the name (``-62d7a712.pth``, or with OpenMMLab's date, ``-62d7a712_20230314.pth``) is compared
    with what was downloaded, and lets a later try go on where this one is cut off. How a file is downloaded,
    and what the environment says of it: :mod:`mmhier.download`.

    Raises:
        DownloadError: If it cannot be downloaded, or not whole, or with ``check_hash`` if its hash is another
            one; the message says where to put it by hand. Without it another hash is a warning, since some
            files were replaced under their names.
        ValueError: With ``check_hash`` if the name has no hash.
    """
    folder = Path(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'))
    name = file_name or os.path.basename(url.partition('?')[0].partition('#')[0])
    path = folder / name
    if path.exists():
        return str(path)
    known = _hash_in(name)
    if check_hash and known is None:
        raise ValueError(f'{name} has no hash in its name to check: download it without check_hash')
    remedy = f'fetch it elsewhere and put it at {path}'
    if variable := offline():
        raise DownloadError(f'{url} is not on this machine, and {variable} forbids to download it: {remedy}')
    logger.info('downloading %s to %s', url, path)
    lock = wait_for(folder / f'.{name}.part', lambda: logger.info('%s: another process downloads it', name))
    part = lock.path.with_name(name)
    try:
        if not path.exists():  # else that process has
            expected = Expected(None, _problem(url, known, check_hash, part.exists()), known is not None)
            download(addresses([url]), part, expected, name if progress else None)
            part.replace(path)
    except DownloadError as error:
        reasons = str(error).removeprefix(f'{url}: ')
        raise DownloadError(f'{url} cannot be downloaded ({reasons}): {remedy}') from error
    finally:
        if known is None:  # nothing tells whether the rest that a later try gets is of the same file
            part.unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # something is left for a later try
            lock.path.parent.rmdir()
    return str(path)


def _problem(url: str, known: str | None, check_hash: bool, continued: bool) -> Callable[[Path], str | None]:
    """What tells whether a whole file has arrived; ``continued`` if a part of it is of an earlier try."""

    def problem(part: Path) -> str | None:
        nonlocal continued
        if damage := _damage(str(part)):
            return f'is not whole, or no checkpoint ({damage})'
        found = file_sha256(part)
        if not found.startswith(known or ''):
            another = f'has the SHA-256 {found}, its name says {known}...: damaged, or replaced'
            if check_hash or continued:
                continued = False  # next time all of it is of one file
                return another
            logger.warning('%s %s; it is kept', url, another)
        return None

    return problem


def _damage(path: str) -> str:
    """What is wrong with the outside of a file that has just been downloaded, if anything."""
    if path.endswith('.safetensors'):
        try:
            _load_safetensors(path, 'cpu')
        except ValueError as error:
            return str(error)
        return ''
    try:
        with open_file(path) as file:
            _inspect(file, path)
    except UntrustedCheckpointError:
        return ''  # whole, and refused when it is read
    except ValueError as error:
        return str(error)
    return ''


def _hash_in(name: str) -> str | None:
    """First digits of the SHA-256 that a file name ends in, before OpenMMLab's date if there is one."""
    found = re.search(r'-([0-9a-f]{8,64})(_\d{8})?\.', name)
    return found[1] if found and not re.fullmatch(r'20\d{6}', found[1]) else None


def load_like_torch(file: str | PathLike | BinaryIO, map_location: Any = None, **ignored: Any) -> Any:
    """Stand in for ``torch.load`` inside MMEngine's loader, whatever ``weights_only`` it asks for."""
    if isinstance(file, (str, PathLike)):
        return _with_weights(load_checkpoint_file(file, map_location), os.fspath(file))
    content = _without_nan(_load(file, 'in memory', map_location), 'in memory')
    return _with_weights(content, 'in memory')


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
        return load_file(path, device=str(map_location or 'cpu'))
    except (SafetensorError, OSError) as error:
        raise ValueError(f'checkpoint {path} is truncated or corrupt: {error}') from error


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


def protect(module: ModuleType) -> None:
    """Make a module of MMEngine that reads checkpoints use the functions of this file."""
    if hasattr(module, 'torch'):
        module.torch = _SafeTorch('torch')
    if hasattr(module, 'load_url'):
        module.load_url = load_url
