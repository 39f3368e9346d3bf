"""MkDocs hook: puts into a page what other places know, where a comment asks for it.

| comment                           | what                                                   |
|-----------------------------------|--------------------------------------------------------|
| ``<!-- table of pose models -->`` | the table of pose models in the README (``mesh``: mesh) |
| ``<!-- help of all commands -->`` | ``mmhier COMMAND --help`` of every command             |
"""

import contextlib
import io
import os
import re
from pathlib import Path

README = Path(__file__).resolve().parents[2] / 'README.md'
# Commands that have commands of their own.
ACTIONS = {'body-model': ('setup', 'list')}
WIDTH = '84'


def on_page_markdown(markdown: str, **_) -> str:
    """Fill in what a page asks for."""
    markdown = re.sub(r'<!-- table of (\w+) models -->', lambda match: model_table(match.group(1)), markdown)
    return re.sub(r'<!-- help of all commands -->', lambda _: help_of_all_commands(), markdown)


def model_table(kind: str) -> str:
    """Return the table of 'pose' or 'mesh' models.

    Raises:
        ValueError: If the README has none.
    """
    text = README.read_text(encoding='utf-8')
    found = re.search(rf'<!-- {kind} models, .*?-->\n(.*?)<!-- end of {kind} models -->', text, re.DOTALL)
    if found is None:
        raise ValueError(f'{README} has no table of {kind} models: mmhier models --write README.md')
    return found.group(1)


def help_of_all_commands() -> str:
    """Return a section for every command."""
    from mmhier.cli.main import COMMANDS

    sections = []
    for name, (_, line) in COMMANDS.items():
        texts = [command_help(name, *([action] if action else [])) for action in ('', *ACTIONS.get(name, ()))]
        blocks = '\n\n'.join(f'```text\n{text}\n```' for text in texts)
        sections.append(f'## mmhier {name}\n\n{line[0].upper()}{line[1:]}.\n\n{blocks}')
    return '\n\n'.join(sections)


def command_help(*command: str) -> str:
    """Return what ``mmhier COMMAND --help`` prints."""
    from mmhier.cli.main import main

    printed = io.StringIO()
    before = os.environ.get('COLUMNS')
    os.environ['COLUMNS'] = WIDTH
    try:
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            main([*command, '--help'])
    finally:
        os.environ.pop('COLUMNS')
        if before is not None:
            os.environ['COLUMNS'] = before
    return printed.getvalue().strip()
