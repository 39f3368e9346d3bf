"""What pages tell a reader to type: shell commands, Python programs and files of configs in Markdown.

Fences of ``bash``, ``shell``, ``sh`` and ``console`` hold commands, one a line; a backslash joins lines. In
running text a command stands between backticks.
"""

import ast
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SHELL = ('bash', 'shell', 'sh', 'console')
# Commands that need no more than their name.
ALONE = ('doctor', 'models', 'benchmark')
# How a command that stands in running text begins.
INLINE = ('mmhier ', 'python tools/', 'bash tools/', 'make ')

_FENCE = re.compile(r'^( *)```(\w*)(?: title="([^"]*)")?[^\n]*\n(.*?)^ *```$', re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r'(^|\s)#.*$')
# FILE, OUT/results.jsonl and three dots stand for what the reader fills in.
_PLACEHOLDER = re.compile(r'\b[A-Z]{2,}\b(?!=)|\.\.\.')


class Block(NamedTuple):
    """Code between fences: its language, its title or '', its text."""

    language: str
    title: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """List the code blocks of a page in some languages, or in all."""
    found = [
        Block(language, title, re.sub(f'^{indent}', '', text, flags=re.MULTILINE))
        for indent, language, title, text in _FENCE.findall(page.read_text(encoding='utf-8'))
    ]
    return [block for block in found if not languages or block.language in languages]


def printed_commands(page: Path) -> list[str]:
    """List the commands of a page in order, on one line each, without comments and spare blanks.

    In running text the bare name of a command (``mmhier infer``) and a pattern that is to be filled in
    (``mmhier convert IN OUT``) are none.
    """
    fenced = [
        line.removeprefix('$ ')
        for block in blocks(page, *SHELL)
        for line in block.text.replace('\\\n', ' ').splitlines()
    ]
    text = _FENCE.sub('', page.read_text(encoding='utf-8'))
    spans = [span for span in re.findall(r'(?<!`)`([^`]+)`(?!`)', text) if span.startswith(INLINE)]
    whole = [span for span in spans if not _PLACEHOLDER.search(span) and not _is_name(span)]
    return list(dict.fromkeys(filter(None, map(normalised, [*fenced, *whole]))))


def normalised(command: str) -> str:
    """A command without comment and spare blanks."""
    return ' '.join(_COMMENT.sub('', command).split())


def _is_name(span: str) -> bool:
    """Whether text between backticks names a command, or its option without the value."""
    words = span.split()
    bare = len(words) == 2 and words[1] not in ALONE
    return words[0] == 'mmhier' and (bare or words[-1].startswith('--'))


def is_program(source: str) -> bool:
    """Whether Python text imports something; the text of a config does not."""
    return any(isinstance(node, ast.Import | ast.ImportFrom) for node in ast.walk(ast.parse(source)))


def python_blocks(page: Path) -> tuple[list[Block], list[Block]]:
    """Programs and configs of a page, in order. Configs of MMEngine may hold ``{{_base_.name}}``."""
    programs, configs = [], []
    for block in blocks(page, 'python'):
        (programs if is_program(block.text) else configs).append(block)
    return programs, configs


def untitled(programs: Iterable[Block]) -> str:
    """One program of those that have no file name: on a page, later ones use what earlier ones have made."""
    return '\n\n'.join(block.text for block in programs if not block.title)
