"""MkDocs hook: puts ``mmhier COMMAND --help`` of every command where a comment asks for the help."""

import contextlib
import io
import os
import re

# Commands that have commands of their own.
ACTIONS = {'body-model': ('setup', 'list')}
WIDTH = '84'


def on_page_markdown(markdown: str, **_) -> str:
    """Fill in what a page asks for."""
    return re.sub(r'<!-- help of all commands -->', lambda _: help_of_all_commands(), markdown)


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
