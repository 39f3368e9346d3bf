"""Fetch released weights from every address, measure and load them, write what was found into the registry.

python tools/zoo/check.py yolox-s vitpose-plus-small --image 000000000139.jpg --write

For machines with internet. Each address is tried by itself, without the cache of this user, and nothing that
was fetched is kept; without names all entries that have an address are checked, those under licences to
accept only with --accept-licence. Exit status: 0 if all that was checked is as the registry says and works.
"""

import argparse
import os
import re
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np

from mmhier.atomic import new_file
from mmhier.download import MIRROR_VARIABLE
from mmhier.user_cache import HOME_VARIABLE
from mmhier.user_errors import USER_ERRORS
from mmhier.version import __version__
from mmhier.zoo import cache
from mmhier.zoo.fetch import fetch_entry
from mmhier.zoo.registry import PATH, Source, Weights, as_json, read_registry

# COCO val2017 000000000139.jpg: boxes (x, y, width, height), and the nose of the second person and its score
# with a flip test, as the converter of transformers has them; it allows 0.05.
BOXES_XYWH = ((412.8, 157.61, 53.05, 138.01), (384.43, 172.21, 15.12, 35.74))
NOSES = {
    'vitpose-base-simple': (398.1805, 181.8084, 0.8666),
    'vitpose-base': (398.0791, 181.8281, 0.8824),
    'vitpose-base-coco-aic-mpii': (398.3055, 181.7417, 0.8700),
    'vitpose-plus-small': (398.1597, 181.6902, 0.9051),
    'vitpose-plus-base': (398.2013, 181.7283, 0.8750),
    'vitpose-plus-large': (398.1409, 181.7412, 0.8746),
}
TOLERANCE = 0.05


@dataclass(frozen=True)
class Finding:
    """What became of one entry: its file, and what is wrong."""

    bytes: int | None = None
    sha256: str | None = None
    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def main(argv: list[str] | None = None) -> int:
    """Check the entries that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='NAME', help='entries; all by default')
    parser.add_argument('--registry', type=Path, default=PATH, help='default: that of the package')
    parser.add_argument('--image', type=Path, help='000000000139.jpg of COCO val2017, for the check values')
    parser.add_argument('--accept-licence', action='store_true', help='also those that have to be accepted')
    parser.add_argument(
        '--write', action='store_true', help='write sizes, hashes and dates into the registry'
    )
    args = parser.parse_args(argv)
    for name in (MIRROR_VARIABLE, 'HF_ENDPOINT'):
        if os.environ.get(name):
            parser.error(f'{name} is set, and another host is not what is to be checked: unset it')
    entries = dict(read_registry(args.registry))
    if unknown := sorted(set(args.names) - entries.keys()):
        parser.error(f'no entries named {", ".join(unknown)}')
    status = 0
    for name in args.names or list(entries):
        entry = entries[name]
        if entry.needs_consent and not args.accept_licence:
            print(f'{name}: left out, its licence has to be accepted (--accept-licence)', flush=True)
            continue
        if not args.names and not addresses_of(entry):
            print(f'{name}: left out, no program can fetch it ({entry.page})', flush=True)
            continue
        finding = check(entry, args.image)
        print(f'{name}: {"; ".join([*finding.problems, *finding.remarks])}', flush=True)
        status |= bool(finding.problems)
        if args.write and not finding.problems:
            entries[name] = checked(entry, finding)
            with new_file(args.registry) as part:  # after each, so that an interruption loses one
                part.write_text(as_json(entries), encoding='utf-8')
    return status


def checked(entry: Weights, finding: Finding) -> Weights:
    """The entry with what was measured, in place of what was not known."""
    about = dict(
        date=date.today().isoformat(), version=__version__, bytes=finding.bytes, sha256=finding.sha256
    )
    # Sizes and hashes are known now; who trained it, or whether an address stays, is not.
    doubts = re.split(r'; *', entry.uncertain or '')
    uncertain = '; '.join(doubt for doubt in doubts if not doubt.startswith('no SHA-256 is known')) or None
    known = dict(bytes=finding.bytes, bytes_about=None, sha256=finding.sha256, sha256_prefix=None)
    return replace(entry, checked=about, uncertain=uncertain, **known)


def addresses_of(entry: Weights) -> list[Source]:
    """Where a program can fetch an entry."""
    return [source for source in entry.sources if source.url and not entry.login]


def check(entry: Weights, image: Path | None) -> Finding:
    """Fetch an entry from each of its addresses, compare, and use what came."""
    sources = addresses_of(entry)
    if not sources:
        return Finding(problems=('there is no address to fetch it from',))
    found, problems, remarks = {}, [], []
    for source in sources:
        with tempfile.TemporaryDirectory() as folder:
            before = os.environ.get(HOME_VARIABLE)
            os.environ[HOME_VARIABLE] = folder
            try:
                path = fetch_entry(replace(entry, sources=(source,)), accept_licence=True)
                if not path.is_relative_to(folder):
                    raise ValueError(f'{path} was taken instead: unset MMHIER_MODELS and TORCH_HOME')
                found[source.url] = path.stat().st_size, cache.sha256_of(path)
                if len(found) == 1:
                    remarks.append(use(entry, path, image))
            except USER_ERRORS as error:
                problems.append(f'{source.url}: {error}')
            finally:
                _restore(before)
    if len(set(found.values())) > 1:
        problems.append(f'the addresses give different files: {found}')
    size, sha256 = next(iter(found.values()), (None, None))
    if sha256:
        remarks.append(f'{size:,} bytes, SHA-256 {sha256}, from {len(found)} of {len(sources)} addresses')
    return Finding(size, sha256, tuple(problems), tuple(remarks))


def _restore(home: str | None) -> None:
    os.environ.pop(HOME_VARIABLE, None)
    if home is not None:
        os.environ[HOME_VARIABLE] = home


def use(entry: Weights, path: Path, image: Path | None) -> str:
    """Load a file as mmhier would; return what was seen.

    Raises:
        ValueError: If it does not fit, or its poses are not those that are known.
    """
    if entry.kind == 'detector':
        from mmhier.detection import load_detector

        detector = load_detector(dict(type='onnx', path=str(path), family=entry.family))
        boxes, _ = detector(np.full((480, 640, 3), 114, np.uint8))
        return f'a detector with {detector.layout}, {len(boxes)} people on a grey image'
    if entry.kind == 'init':
        return _encoder(path)
    from mmhier.zoo.conversion import convert_model_file

    ready = convert_model_file(path)
    remark = f'{len(ready.state_dict)} tensors ({ready.format} keys)'
    if entry.kind == 'pose':
        nose = _nose(entry, path, image)
        remark += f', {nose}' if nose else ''
    return remark


def _encoder(path: Path) -> str:
    from mmhier.compat.checkpoint import load_checkpoint_file
    from mmhier.convert import convert, find_family, unwrap

    weights = unwrap(load_checkpoint_file(path), str(path))
    found = convert(find_family(weights, str(path)), weights, source=str(path))
    return f'an encoder of {len(found.state_dict)} tensors ({found.format} keys)'


def _nose(entry: Weights, path: Path, image: Path | None) -> str:
    """Build the model with these weights, and compare the check values if there are some."""
    from mmhier.apis import Inferencer

    inferencer = Inferencer(entry.configs[0], path, 'cpu', flip_test=True)
    if image is None or entry.name not in NOSES:
        return 'no pose was compared'
    boxes = [[x, y, x + width, y + height] for x, y, width, height in BOXES_XYWH]
    (result,) = inferencer(str(image), boxes)
    person = result.people[1]
    nose = np.array([*person.keypoints[0], person.keypoint_scores[0]])
    off = np.abs(nose - NOSES[entry.name])
    if (off > TOLERANCE).any():
        raise ValueError(f'the nose is at {nose.round(4)}, expected {NOSES[entry.name]} to {TOLERANCE}')
    return f'the nose is off by {off[:2].max():.3f} pixels and {off[2]:.3f}'


if __name__ == '__main__':
    sys.exit(main())
