"""Exported files are looked into before they are loaded: what they may do without the user's trust.

A file of ``torch.export`` or TorchScript is a program. torch reads the first by means that run Python code
of the file's author: pickles, formulas of sizes that are evaluated, names of functions that are looked up,
guards that are compiled, shared libraries. So nothing of a file is loaded before all of it was found to be on
these lists; everything else needs trust, as a checkpoint does (:mod:`mmhier.compat.checkpoint`):

=================  =====================================================================================
file               without trust
=================  =====================================================================================
.pt2               records of weights, sample inputs and one graph, all without objects; calls of PyTorch's
                   operators (``torch.ops.aten``) and of arithmetic; sizes that are products and sums
.pt (TorchScript)  classes and functions in TorchScript's own language, which has no access to Python; calls
                   of PyTorch's operators, no custom operators or classes, none that read or write files
.onnx              see :mod:`mmhier.onnx_file`
.xml, .bin         OpenVINO's format names no other files and no code; nothing to look into
=================  =====================================================================================

What is left: a graph can compute wrong numbers, for ever, or need more memory than there is, and torch, too,
has defects. All records are compared with their checksums (:mod:`mmhier.compat.torch_archive`).
"""

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmhier.compat.checkpoint import (
    HOW_TO_TRUST,
    UntrustedCheckpointError,
    check_plain,
    is_trusted,
)
from mmhier.compat.torch_archive import TorchArchive
from mmhier.safe_files import Archive, parse_json, read_bytes
from mmhier.safe_pickle import named_globals

logger = logging.getLogger('mmhier')

MAX_BYTES = 8 << 30
MAX_BRACKETS = 200
MAX_WORD = 2000

# Operators that read or write files.
FILE_OPERATORS = ('from_file', 'load', 'save')

# Records of torch.export, current and of torch before 2.8.
_WEIGHTS = r'data/(weights|constants)/(weight|tensor)_\d+'
_GRAPH = r'models/\w+\.json|serialized_exported_program\.json'
_CONFIG = r'data/(weights|constants)/\w+_config\.json'
_SAVED = (
    r'data/(sample_inputs|weights|constants)/\w+\.pt|serialized_(state_dict|constants|example_inputs)\.pt'
)
_PLAIN = r'archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment'
_EXPORTED = re.compile(f'{_WEIGHTS}|{_GRAPH}|{_CONFIG}|{_SAVED}|{_PLAIN}')

# Strings in a graph, by the key that they stand at; at any other key _WORD.
_WORD = re.compile(r'[\w.+:-]*')
_TEXT = re.compile(r'[\w.+:, >-]*')  # of einsum and the like
_TARGET = re.compile(
    rf'torch\.ops\.aten\.(?!({"|".join(FILE_OPERATORS)})\b)\w+\.\w+'
    r'|torch\.ops\.higher_order\.wrap_with_(autocast|set_grad_enabled)'  # of a graph, which is looked at, too
    r'|_operator\.(add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge|getitem)|torch\.sym_\w+'
)
_SIZE = re.compile(
    r"(Symbol\('[a-z]\w*'(, (positive|integer|nonnegative)=True)*\)|(Integer|Add|Mul|Mod|Max|Min|FloorDiv)\("
    r'|-?\d+|[su]\d+|[(), +-]|\*(?!\*))*'
)
_CONTEXT = re.compile(r'None|null|\[("\w*"(, "\w*")*)?\]')
_SPEC_TYPES = (None, 'builtins.tuple', 'builtins.list', 'builtins.dict')
# Where a program came from: shown in tracebacks, never evaluated.
_DESCRIPTIONS = ('stack_trace', 'nn_module_stack', 'torch_fn', 'source_fn_stack', 'from_node')
# What has to be empty: it is compiled, looked up or unpickled.
_EMPTY = ('guards_code', 'as_operator', 'as_custom_obj', 'treespec_namedtuple_fields', 'use_pickle')

_SCRIPTED = re.compile(
    r'((traced_inputs|data|constants)\.pkl|code/__torch__[/\w]*\.py(\.debug_pkl)?|(data|constants|traced_inputs)/\d+'
    rf'|{_PLAIN})'
)
_SCRIPT_GLOBAL = re.compile(
    r'__torch__\.(?!torch\.classes\b)[\w.]+|collections\.OrderedDict|torch\._utils\._rebuild_tensor_v2'
    r'|torch\.jit\._pickle\.\w+|torch\.\w*Storage|torch\.device'
)
# Bare words, wherever they stand: comments and line ends may lie between a dot and a name, and functions can
# get other names. Strings may be spelt with escapes, so `getattr` has to look as TorchScript writes it.
_FOREIGN = re.compile(
    r'(?<![\w.])ops\b(?!\s*\.\s*(prim|aten)\s*\.)[\w.]*'
    rf'|\b({"|".join(FILE_OPERATORS)}|classes|rpc_\w+)\b'
    r'|\bgetattr\b(?!\([\w.]+, "\w+"\))',
    re.ASCII,
)


class _Objection(Exception):
    """What in a file is on no list."""


def open_exported_program(path: Path) -> io.BytesIO:
    """Read a .pt2 file for ``torch.export.load``.

    Raises:
        FileNotFoundError: If there is no such file.
        UntrustedCheckpointError: If it holds what could run code, and is not trusted.
        ValueError: If it is damaged.
    """
    return _open(path, _inspect_exported)


def open_script(path: Path) -> io.BytesIO:
    """Read a TorchScript file for ``torch.jit.load``; errors as of :func:`open_exported_program`."""
    return _open(path, _inspect_script)


def _open(path: Path, inspect: Callable[[io.BytesIO, str], None]) -> io.BytesIO:
    """Read a file once, so that what is loaded is what was looked into."""
    file = io.BytesIO(read_bytes(path, MAX_BYTES))
    try:
        inspect(file, str(path))
    except (_Objection, UntrustedCheckpointError) as error:
        if not is_trusted():
            raise UntrustedCheckpointError(
                f'{path} is refused and nothing in it has been executed: {error}. '
                f'Loading it could run any code. {HOW_TO_TRUST}'
            ) from None
        logger.warning('%s is loaded because it is trusted: %s', path, error)
    file.seek(0)
    return file


def _inspect_exported(file: io.BytesIO, name: str) -> None:
    """Look into a file of torch.export."""
    members = Archive(file, name)
    if 'version' in members.names:  # before torch 2.8 it was an archive of another kind
        records, read = members.names, members.read
    else:
        archive = TorchArchive(file, name)
        records, read = archive.records, archive.read
    for record in records:
        if not _EXPORTED.fullmatch(record):
            raise _Objection(f'it holds {record!r}, which no program of operators needs')
        if re.fullmatch(_SAVED, record) and (content := read(record)):
            check_plain(io.BytesIO(content), f'{name}: {record}')
        if re.fullmatch(f'{_GRAPH}|{_CONFIG}', record):
            try:
                _walk(parse_json(read(record), f'{name}: {record}'), '')
            except RecursionError as error:
                raise ValueError(f'{name}: {record} is nested too deeply') from error


def _walk(value: Any, key: str) -> None:
    """Look at all strings of a graph; ``key`` is where a value stands."""
    if key in _EMPTY and value:
        raise _Objection(f'it has {key}')
    if isinstance(value, dict):
        for name, item in value.items():
            if not (_SIZE if key == 'range_constraints' else _WORD).fullmatch(name):
                raise _Objection(f'it has the name {name[:60]!r}')
            _walk(item, name)
    elif isinstance(value, list):
        for item in value:
            _walk(item, key)
    elif isinstance(value, str) and key not in _DESCRIPTIONS:
        if key in ('in_spec', 'out_spec'):
            _walk_spec(parse_json(value, f'its {key}'))
            return
        grammar = dict(target=_TARGET, expr_str=_SIZE, as_string=_TEXT, as_strings=_TEXT).get(key, _WORD)
        if len(value) > MAX_WORD or not grammar.fullmatch(value):
            raise _Objection(f'it has {value[:60]!r} as {key}')


def _walk_spec(spec: Any) -> None:
    """Look at the description of nested arguments: tuples, lists and dictionaries with names as keys."""
    if isinstance(spec, list):
        for item in spec:
            _walk_spec(item)
    elif isinstance(spec, dict):
        if spec.get('type') not in _SPEC_TYPES or not _CONTEXT.fullmatch(str(spec.get('context'))):
            raise _Objection(f'it has arguments of the type {str(spec.get("type"))[:60]!r}')
        _walk_spec(spec.get('children_spec'))


def _inspect_script(file: io.BytesIO, name: str) -> None:
    """Look into a TorchScript archive."""
    archive = TorchArchive(file, name)
    if 'constants.pkl' not in archive.records:
        raise ValueError(f'{name} is no TorchScript archive, which mmhier export writes as .pt')
    for record in archive.records:
        if not _SCRIPTED.fullmatch(record):
            raise _Objection(f'it holds {record!r}, which no program of operators needs')
        if record.endswith('pkl'):
            foreign = [
                one for one in named_globals(archive.read(record)) if not _SCRIPT_GLOBAL.fullmatch(one)
            ]
            if foreign:
                raise _Objection(f'{record} asks for {", ".join(sorted(foreign)[:5])}')
        elif record.endswith('.py'):
            _inspect_code(archive.read(record).decode('utf-8', 'replace'), f'{name}: {record}')


def _inspect_code(code: str, name: str) -> None:
    """Look at the source of a class in TorchScript's language."""
    if found := _FOREIGN.search(code):
        raise _Objection(f'it uses {found[0]}')
    depth = 0
    for bracket in re.findall(r'[()\[\]{}]', code):
        depth += 1 if bracket in '([{' else -1
        if depth > MAX_BRACKETS:
            raise ValueError(f'{name} is nested too deeply')
