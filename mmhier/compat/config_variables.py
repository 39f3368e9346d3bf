"""Reading a config as if a variable in it had been edited, so that what is made from it follows.

MMEngine executes config files and forgets how a value came about: ``--cfg-options data_root=X`` changes
that variable alone, and the paths that the file made from it keep the old folder. Here the new value is put
in where the variable is defined, in whichever file of the chain of ``_base_`` that is. Unnecessary once
MMEngine applies options while it executes the files.
"""

import ast
import copy
import re
from collections.abc import Collection, Mapping
from typing import Any
from unittest import mock

from mmengine.config import Config, config
from mmengine.config.utils import RemoveAssignFromAST
from mmengine.fileio import load

from mmhier.safe_files import read_text

_asked: dict[str, list[tuple[list[str], Any]]] = {}


def read_config(path: str, options: Mapping[str, Any]) -> Config:
    """Read a config file with options put in where the variables that they name are defined.

    An option whose place is not there yet (a key of a dictionary that another file of the chain adds) is
    left out; so are all options of files in the style of ``read_base()``, in YAML and in JSON, which are
    read as they are. Merge the options into the result in any case.

    Args:
        path: The file.
        options: As of ``--cfg-options``: dotted names -> values.

    Returns:
        The config.
    """
    _asked.clear()
    for name, value in options.items():
        variable, *keys = name.split('.')
        _asked.setdefault(variable, []).append((keys, value))
    try:
        with mock.patch.object(config, 'RemoveAssignFromAST', _PutOptionsIn):
            return Config.fromfile(path)
    finally:
        _asked.clear()


def unread_variables(path: str, read: Collection[str]) -> dict[str, str]:
    """Find variables of a config file and of its bases that the file which sets them last does not use.

    Args:
        path: The file.
        read: Names that others read. So is a variable used that anything in the same file is made from.

    Returns:
        Variables -> the file that sets them last. Files that have no base, and those in the style of
        ``read_base()``, set none.
    """
    found: dict[str, str] = {}
    used_later: set[str] = set()
    files = [path]
    while files:
        file = files.pop(0)
        if Config._is_lazy_import(file):
            continue
        bases = Config._get_base_files(file)
        files += [Config._get_cfg_path(base, file)[0] for base in bases]
        assigned, used = _names(file, read)
        if bases:
            late = sorted(assigned - used - used_later - found.keys())
            found |= dict.fromkeys(late, file)
        used_later |= used  # by whoever sets it last
    return found


def used_variables(path: str) -> set[str] | None:
    """Names that anything in a config file or its bases is made from; None of ``read_base()``'s style."""
    used, files = set(), [path]
    while files:
        file = files.pop()
        if Config._is_lazy_import(file):
            return None
        files += [Config._get_cfg_path(base, file)[0] for base in Config._get_base_files(file)]
        used |= _names(file, ())[1] | set(re.findall(r'\b_base_\.(\w+)', read_text(file)))
    return used


def _names(file: str, read: Collection[str]) -> tuple[set[str], set[str]]:
    """Names of all variables that a file sets, and those that are read or that it makes others from."""
    if not file.endswith('.py'):
        return set(load(file)), set(read)
    names = [node for node in ast.walk(ast.parse(read_text(file))) if isinstance(node, ast.Name)]
    assigned = {node.id for node in names if isinstance(node.ctx, ast.Store)}
    return assigned, {node.id for node in names if isinstance(node.ctx, ast.Load)} | set(read)


class _PutOptionsIn(RemoveAssignFromAST):
    """Adds ``NAME = put_in('NAME', NAME)`` after each definition of a variable that an option names."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        body = list(ast.parse(f'from {__name__} import put_in as __put_in__').body)
        for statement in node.body:
            body.append(statement)
            targets = statement.targets if isinstance(statement, ast.Assign) else ()
            for target in targets:
                if isinstance(target, ast.Name) and target.id in _asked:
                    body += ast.parse(f'{target.id} = __put_in__({target.id!r}, {target.id})').body
        node.body = [statement for statement in body if self.visit(statement) is not None]
        return ast.fix_missing_locations(node)


def put_in(variable: str, value: Any) -> Any:
    """The value of a variable with the options that name it, and whose place is there."""
    value = copy.deepcopy(value)
    for keys, new in _asked[variable]:
        if not keys:
            value = copy.deepcopy(new)
            continue
        place = value
        for key in keys[:-1]:
            place = _child(place, key)
        if isinstance(place, dict):
            place[keys[-1]] = new
        elif isinstance(place, list) and keys[-1].isdigit() and int(keys[-1]) < len(place):
            place[int(keys[-1])] = new
    return value


def _child(place: Any, key: str) -> Any:
    if isinstance(place, dict):
        return place.get(key)
    if isinstance(place, list | tuple) and key.isdigit() and int(key) < len(place):
        return place[int(key)]
    return None
