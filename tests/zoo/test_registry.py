"""What the registry says is complete, consistent and names what exists."""

import json
import re
from fnmatch import fnmatch

import pytest
import torch

from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.zoo import cache
from mmhier.zoo.fetch import fetch_entry
from mmhier.zoo.names import find_configs
from mmhier.zoo.registry import (
    PATH,
    SHIPPED,
    Source,
    as_json,
    entries_for,
    find_entry,
    parse_entry,
    read_registry,
)

ENTRIES = read_registry(PATH)
OWN = read_registry(SHIPPED / 'weights.json')
MIRRORED = ('yolox-s', 'yolox-l', 'vmamba-base-in1k', 'hmr2a')


@pytest.mark.parametrize('name', ENTRIES)
def test_entry(name):
    entry = ENTRIES[name]
    assert re.fullmatch(r'[a-z0-9]+(-[a-z0-9]+)*', name)
    assert entry.page.startswith('https://') and all(vars(entry.licence).values())
    for source in entry.sources:
        assert source.url is None or re.fullmatch(r'https://[\w.-]+/[\w./%~?=+-]+', source.url)
        assert source.file and '/' not in source.file
        assert (source.member is not None) == source.file.endswith(('.zip', '.tar.gz'))
    for sha256 in filter(None, (entry.sha256, *(source.sha256 for source in entry.sources))):
        assert re.fullmatch('[0-9a-f]{64}', sha256)
    if entry.sha256_prefix:
        assert not entry.sha256 and f'-{entry.sha256_prefix}' in entry.file
    assert not (entry.bytes and entry.bytes_about)
    if not entry.known_hash:
        assert 'no SHA-256 is known' in entry.uncertain
    if entry.score:
        assert entry.score.source and 0 < entry.score.value < 100
    assert (entry.family in ('yolox', 'rtmdet', 'dfine')) == (entry.kind == 'detector')
    assert (entry.format == 'onnx') == (entry.kind == 'detector')
    assert not any('smpl_' in source.file.lower() or 'basicmodel' in source.file for source in entry.sources)


def test_nothing_has_been_checked_that_was_not():
    for entry in ENTRIES.values():
        checked = entry.checked
        if checked != 'never':
            assert {'date', 'version', 'bytes', 'sha256'} <= checked.keys()
            assert (checked['bytes'], checked['sha256']) == (entry.bytes, entry.sha256)


def test_configs_exist():
    known = [path.stem for path in find_configs(['*'], task=None)]
    patterns = [(name, pattern) for name, entry in ENTRIES.items() for pattern in entry.configs]
    assert len(patterns) > 40
    for name, pattern in patterns:
        assert any(fnmatch(stem, pattern) for stem in known), (name, pattern)


def test_contents():
    """Everything that has been released for these models and can be listed."""
    names = set(ENTRIES)
    assert {f'yolox-{size}' for size in ('nano', 'tiny', 's', 'm', 'l', 'x')} <= names
    assert {f'yolox-{size}-humanart' for size in ('nano', 'tiny', 's', 'm', 'l', 'x')} <= names
    assert {f'dfine-{size}' for size in 'nsmlx'} | {'rtmdet-nano', 'rtmdet-m'} <= names
    sizes = ('small', 'base', 'large', 'huge')
    mmpose = {f'vitpose-{size}{head}-mmpose' for size in sizes for head in ('', '-simple')}
    assert len(mmpose) == 8 and mmpose | {'vitpose-huge-original-mmpose'} <= names
    assert {f'vitpose-plus-{size}' for size in sizes} | {f'mae-{size}' for size in sizes} <= names
    assert {
        f'{net}-{size}-in1k' for net in ('swin', 'vmamba', 'groupmixformer') for size in sizes[:2]
    } <= names
    consent = {name for name, entry in ENTRIES.items() if entry.needs_consent}
    assert consent == {name for name in names if name.startswith(('mae', 'hmr2', 'smplerx'))}
    assert all(
        ENTRIES[name].non_commercial == 'data' for name in names if 'humanart' in name or 'rtmdet' in name
    )
    assert all(len(ENTRIES[name].sources) == 2 for name in names if 'humanart' in name or name in MIRRORED)


@pytest.mark.parametrize('size', 'sblh')
def test_default_weights_of_vitpose_are_tensors_alone(size):
    assert entries_for(f'vitpose_{size}_coco')[0].format == 'safetensors'
    assert entries_for('nobody') == []


def test_file_is_as_it_is_written(tmp_path):
    assert PATH.read_text(encoding='utf-8') == as_json(ENTRIES)
    (tmp_path / 'a.json').write_text(as_json(ENTRIES))
    assert read_registry(tmp_path / 'a.json') == ENTRIES


def test_names():
    assert find_entry('vitpose_plus_small') is find_entry('vitpose-plus-small')
    with pytest.raises(
        ValueError, match="no weights named 'vitpose-plus-smal'; did you mean vitpose-plus-small"
    ):
        find_entry('vitpose-plus-smal')


@pytest.mark.parametrize(
    ('change', 'text'),
    [
        (dict(kind='toy'), "'toy' is none of detector"),
        (dict(colour='red'), 'colour'),
        (dict(licence=dict(code='MIT')), 'missing 2 required'),
        (dict(non_commercial='maybe'), "'maybe' is none of no"),
        (dict(file='../net.pth'), "'../net.pth' is no name for a file"),
        (dict(sources=[dict(url='https://example.org/..')]), 'no name for a file'),
    ],
)
def test_wrong_entries_are_refused(change, text):
    given = json.loads(PATH.read_text())['yolox-s']
    parse_entry('a', given)
    with pytest.raises(ValueError, match=f"entry 'a' of the weights: .*{re.escape(text)}"):
        parse_entry('a', given | change)


def test_file_of_an_address():
    assert Source('https://example.org/%23v2/a_b.pth?download=1').file == 'a_b.pth'
    assert Source('https://example.org/epoch%3D10-step%3D25000.ckpt').file == 'epoch=10-step=25000.ckpt'


@pytest.mark.parametrize('name', OWN)
def test_own_weights_are_there_and_scored(name):
    entry = OWN[name]
    assert cache.find(entry) == fetch_entry(entry) == SHIPPED / entry.file
    (path,) = find_configs([entry.configs[0]])
    assert entries_for(path.stem)[0] is find_entry(name)
    scores = json.loads((SHIPPED / 'scores.json').read_text())
    metric = entry.score.metric.partition(',')[0] + (', mm' if entry.kind == 'mesh' else '')
    assert entry.score.value == round((100 if entry.kind == 'pose' else 1) * scores['varied'][metric], 1)
    card = (SHIPPED / 'README.md').read_text()
    assert all(f'{entry.bytes:,}' in card for entry in OWN.values())
    for scenes, values in scores.items():
        row = next(line for line in card.splitlines() if line.startswith(f'| {scenes} |'))
        assert f'{values["AP"]:.3f}' in row and f'{values["PA-MPJPE, mm"]:.1f}' in row


def test_own_weights_are_small_tensors_alone():
    assert {entry.kind for entry in OWN.values()} == {'pose', 'mesh'}
    assert sum((SHIPPED / entry.file).stat().st_size for entry in OWN.values()) <= 8e6
    for entry in OWN.values():
        kinds = {tensor.dtype for tensor in load_checkpoint_file(SHIPPED / entry.file).values()}
        assert torch.float16 in kinds and torch.float32 not in kinds
