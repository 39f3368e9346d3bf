"""Parts that mmhier is made of or needs. Each room lists its own; ``mmhier doctor`` tries them all.

Standard library only.
"""

import importlib
import shlex
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

OK, ABSENT, BROKEN = 'ok', 'absent', 'BROKEN'


class Problem(Exception):
    """Something is there and does not work; the text says what."""


@dataclass(frozen=True)
class Part:
    """Something that mmhier uses.

    Attributes:
        name: Its name in the report.
        probe: Tries it; returns version and remarks, raises what goes wrong.
        install: Arguments of ``pip install`` that repair it.
        advice: What to do if it is absent or broken and ``install`` is not all.
    """

    name: str
    probe: Callable[[], str]
    install: tuple[str, ...] = ()
    advice: str = ''

    @property
    def remedy(self) -> str:
        """What to do if it is absent or broken."""
        return '; '.join(filter(None, [pip_line(self.install) if self.install else '', self.advice]))


@dataclass(frozen=True)
class Finding:
    """What came out for a part.

    Attributes:
        part: The part.
        state: :data:`OK`, :data:`ABSENT` or :data:`BROKEN`.
        text: Its version and remarks, or what is wrong.
        missing: The import name that it lacks, which need not be its own.
    """

    part: Part
    state: str
    text: str
    missing: str | None = None


def look_at(part: Part) -> Finding:
    """Try a part."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            return Finding(part, OK, part.probe())
    except ModuleNotFoundError as error:
        return Finding(part, ABSENT, f'{error.name} is not installed', error.name)
    except Exception as error:
        text = str(error) if isinstance(error, Problem) else f'{type(error).__name__}: {error}'
        return Finding(part, BROKEN, ' '.join(text.split()))


def pip_line(arguments: tuple[str, ...]) -> str:
    """``pip install`` as one types it."""
    return shlex.join(['pip', 'install', *arguments])


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution, or None."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def installed(distribution: str) -> Callable[[], str]:
    """Make a probe that returns the version of a distribution whose import takes seconds."""

    def probe() -> str:
        if (version := version_of(distribution)) is None:
            raise ModuleNotFoundError(name=distribution)
        return version

    return probe


def told_by(module: str, function: str) -> Callable[[], str]:
    """Make a probe that asks a function of a module, which is not imported before."""
    return lambda: getattr(importlib.import_module(module), function)()


def importable(module: str, distribution: str | None = None) -> Callable[[], str]:
    """Make a probe that imports a module and returns the version of its distribution."""

    def probe() -> str:
        importlib.import_module(module)
        return metadata.version(distribution or module)

    return probe
