"""Released weights and detectors by name: where they are, what they are, and under which licence.

The entries are in ``weights.json`` beside this file; those of weights that are part of the package are in
``shipped``. Nothing in them is guessed: a size or hash that nobody has published is left out, what has not
been established is told in ``uncertain``, and ``checked`` is 'never' until ``tools/zoo/check.py`` has fetched
and measured the file. Of several entries for one config the first is the one that is taken by default.
"""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from mmhier.safe_files import read_json
from mmhier.suggestions import did_you_mean

PATH = Path(__file__).with_name('weights.json')
# Weights that are part of the package, in a folder with entries of their own; tools/zoo/ship.py makes it.
SHIPPED = Path(__file__).with_name('shipped')

# What looks like a name of weights, and not like a file: a word.
NAME = r'\w[\w-]*$'

KINDS = ('detector', 'pose', 'mesh', 'init')
FORMATS = ('onnx', 'pth', 'safetensors', 'ckpt')
# Whether commerce is forbidden: not, by the weights' own licence, by that of the weights they were trained
# from, by that of training data; or nobody knows.
COMMERCE = {'no': 'no', 'yes': 'yes', 'init': 'initial weights', 'data': 'data', 'unknown': 'unknown'}


@dataclass(frozen=True)
class Source:
    """A place that has the file, or an archive with it.

    Attributes:
        url: Its address; None where only a browser gets it, from the entry's page.
        file: Name of what the address gives; by default the end of the address.
        member: Which member of the archive is the file: its path, or a pattern that fits one alone.
        bytes: Size of the archive, if known.
        bytes_about: Its rounded size.
        sha256: Hash of the archive, if known.
    """

    url: str | None = None
    file: str = ''
    member: str | None = None
    bytes: int | None = None
    bytes_about: int | None = None
    sha256: str | None = None

    def __post_init__(self):
        if not self.file and self.url:
            object.__setattr__(self, 'file', unquote(urlsplit(self.url).path.rpartition('/')[2]))


@dataclass(frozen=True)
class Licence:
    """What stands where licences should: of the code, of the weights, and of what they were trained on."""

    code: str
    weights: str
    data: str


@dataclass(frozen=True)
class Score:
    """A published number, for example 75.8, of which kind, and who says so."""

    value: float
    metric: str
    source: str


@dataclass(frozen=True)
class Weights:
    """A released file.

    Attributes:
        name: What users call it.
        kind: One of :data:`KINDS`; 'init' is for training only.
        file: Its name in the cache.
        format: One of :data:`FORMATS`.
        licence: See :class:`Licence`.
        non_commercial: A key of :data:`COMMERCE`.
        page: Who publishes it.
        sources: In the order in which they are tried.
        configs: Names or patterns of the configs that it belongs to.
        bytes: Its size, if known.
        bytes_about: Its rounded size, where the exact one is not known.
        sha256: Its hash, if known.
        sha256_prefix: The first digits of it, where only they are known.
        login: Whether its publisher wants an account; then it is not downloaded.
        score: What is reported of it.
        family: Of a detector.
        uncertain: What has not been established.
        note: What else a user should know.
        checked: 'never', or what ``tools/zoo/check.py`` found: date, version of mmhier, bytes, sha256.
    """

    name: str
    kind: str
    file: str
    format: str
    licence: Licence
    non_commercial: str
    page: str
    sources: tuple[Source, ...] = ()
    configs: tuple[str, ...] = ()
    bytes: int | None = None
    bytes_about: int | None = None
    sha256: str | None = None
    sha256_prefix: str | None = None
    login: bool = False
    score: Score | None = None
    family: str | None = None
    uncertain: str | None = None
    note: str | None = None
    checked: str | Mapping[str, Any] = field(default='never', hash=False)

    @property
    def needs_consent(self) -> bool:
        """Whether the user has to accept the licence before the file is fetched."""
        return self.non_commercial in ('yes', 'unknown')

    @property
    def size(self) -> str:
        """How large it is, for people."""
        if self.bytes:
            return f'{self.bytes:,} bytes'
        about = self.bytes_about or next((one.bytes_about for one in self.sources if one.bytes_about), None)
        return f'about {about / 1e6:,.0f} MB' if about else 'of unknown size'

    @property
    def known_hash(self) -> str | None:
        """As much as is known of the SHA-256."""
        return self.sha256 or self.sha256_prefix

    def fits(self, sha256: str) -> bool:
        """Whether a file of this hash can be the one; True if nothing is known."""
        return sha256.startswith(self.known_hash or '')

    @property
    def expected(self) -> str:
        """Size and hash, for people."""
        known = f'SHA-256 {self.sha256}' if self.sha256 else ''
        known = known or (f'SHA-256 {self.sha256_prefix}...' if self.sha256_prefix else 'SHA-256 unknown')
        return f'{self.size}, {known}'


def parse_entry(name: str, given: Mapping[str, Any]) -> Weights:
    """Make an entry of what the file says.

    Raises:
        ValueError: If a field is unknown, missing or not what it should be.
    """
    try:
        fields = dict(given)
        fields['licence'] = Licence(**fields['licence'])
        fields['score'] = Score(**fields['score']) if 'score' in fields else None
        fields['sources'] = tuple(Source(**source) for source in fields.get('sources', ()))
        fields['configs'] = tuple(fields.get('configs', ()))
        entry = Weights(name, **fields)
    except (TypeError, KeyError) as error:
        raise ValueError(f'entry {name!r} of the weights: {error}') from error
    for value, known in ((entry.kind, KINDS), (entry.format, FORMATS), (entry.non_commercial, COMMERCE)):
        if value not in known:
            raise ValueError(f'entry {name!r} of the weights: {value!r} is none of {", ".join(known)}')
    if not re.match(NAME, name):
        raise ValueError(f'entry {name!r} of the weights: a name has letters, digits and dashes')
    for text in (entry.file, *(source.file for source in entry.sources)):
        if not re.fullmatch(r'\w[\w.=+-]*', text):
            raise ValueError(f'entry {name!r} of the weights: {text!r} is no name for a file')
    return entry


@lru_cache
def read_registry(path: Path | None = None) -> dict[str, Weights]:
    """All entries by name, those of the package's own weights first; or those of one file."""
    paths = [SHIPPED / 'weights.json', PATH] if path is None else [path]
    return {name: parse_entry(name, given) for path in paths for name, given in read_json(path).items()}


def find_entry(name: str) -> Weights:
    """Return the entry of a name, in which ``_`` may stand for ``-``.

    Raises:
        ValueError: If there is none.
    """
    entries = read_registry()
    if (dashed := name.replace('_', '-')) in entries:
        return entries[dashed]
    hint = did_you_mean(dashed.lower(), entries) or ';'
    raise ValueError(f'there are no weights named {name!r}{hint} `mmhier models` lists them')


def entries_for(config: str) -> list[Weights]:
    """Entries that belong to a config, by its name; the default is the first."""
    return [e for e in read_registry().values() if any(fnmatch(config, pattern) for pattern in e.configs)]


def as_json(entries: Mapping[str, Weights]) -> str:
    """Text of ``weights.json``."""
    content = {}
    for name, entry in entries.items():
        content[name] = _without_defaults(entry)
        del content[name]['name']
        for source in content[name].get('sources', ()):
            if source.get('url') and source['file'] == Source(source['url']).file:
                del source['file']
    return json.dumps(content, indent=1, ensure_ascii=False) + '\n'


def _without_defaults(item: Any) -> Any:
    """Fields of a dataclass that say something, in the order of the class."""
    if isinstance(item, tuple):
        return [_without_defaults(one) for one in item]
    if not dataclasses.is_dataclass(item):
        return dict(item) if isinstance(item, Mapping) else item
    said = ((one, getattr(item, one.name)) for one in dataclasses.fields(item))
    return {
        one.name: _without_defaults(value) for one, value in said if value != one.default or value == 'never'
    }
