"""What the README names is there; its numbers, and those that it leaves to docs/, are those of files."""

import csv
import json
import re

import pytest


@pytest.fixture
def text(repo_root):
    return (repo_root / 'README.md').read_text(encoding='utf-8')


@pytest.fixture
def measurements(repo_root):
    return (repo_root / 'docs' / 'benchmarks' / 'README.md').read_text(encoding='utf-8')


@pytest.fixture
def training(repo_root):
    return (repo_root / 'docs' / 'training.md').read_text(encoding='utf-8')


@pytest.fixture
def rows(repo_root):
    """Rows of a file of docs/benchmarks that have these values; numbers stay text."""

    def find(name, **wanted):
        with (repo_root / 'docs' / 'benchmarks' / f'{name}.csv').open(encoding='utf-8') as file:
            found = [r for r in csv.DictReader(file) if all(r[key] == str(v) for key, v in wanted.items())]
        assert found, (name, wanted)
        return found

    return find


def cells(text, name):
    """Cells of the table row that begins with ``name``."""
    (line,) = re.findall(rf'^\| {re.escape(name)} *\|(.*)\|$', text, re.MULTILINE)
    return [cell.strip() for cell in line.split('|')]


def test_every_file_that_the_readme_links_or_runs_exists(repo_root, text):
    paths = re.findall(r'\]\((?!http)([^)#]+)\)', text)
    paths += re.findall(r'\b((?:tools|configs)/[\w/.]+\.\w+)', text)
    assert len(paths) > 5
    for path in paths:
        assert (repo_root / path).exists(), path


@pytest.mark.parametrize('arch', ['tiny', 'small', 'base'])
def test_speed_of_encoders(measurements, rows, arch):
    common = dict(arch=arch, mode='infer')
    cases = [(2, 1), (3, 1), (3, 8)]
    for name, file, sized, places in (('Swin', 'swin_speed', True, 2), ('VMamba', 'vmamba_speed', False, 1)):
        column = 'ratio' if sized else 'official_ratio'
        size = dict(height=256, width=192) if sized else {}
        _, *shown = cells(measurements, f'{name}-{arch}')
        for (stages, batch), cell in zip(cases, shown, strict=True):
            if cell:
                row = rows(file, stages=stages, batch=batch, **common, **size)[0]
                assert cell == f'{float(row[column]):.{places}f}x', (name, arch, stages, batch)
    _, *shown = cells(
        measurements, 'GMF-tiny (fused for inference)' if arch == 'tiny' else f'GMF-{arch} (fused)'
    )
    for stages, cell in zip((2, 3), shown, strict=False):
        (row,) = rows('gmf_speed', stages=stages, batch=1, **common)
        assert cell == f'{float(row["ratio"]):.2f}x ({float(row["fused_ratio"]):.2f}x)'
    if arch != 'tiny':
        for batch, cell in zip((1, 8), cells(measurements, f'ViT-{arch}')[1:], strict=True):
            assert cell == f'{float(rows("vit_speed", batch=batch, **common)[0]["ratio"]):.2f}x'


def test_speed_of_encoders_in_short(text, measurements):
    """What the README says of all encoders is the least and the most of the tables."""
    words = ' '.join(text.split())

    def range_of(*names):
        table = [cell for name in names for cell in cells(measurements, name)]
        found = [float(match[1]) for cell in table if (match := re.match(r'([\d.]+)x', cell))]
        return min(found), max(found)

    sizes = ('tiny', 'small', 'base')
    rest = [f'Swin-{size}' for size in sizes] + ['GMF-tiny (fused for inference)', 'GMF-small (fused)']
    least, most = range_of(*rest, 'GMF-base (fused)', 'ViT-small', 'ViT-base')
    assert f'are {least:.1f} to {most:.1f} times as fast' in words
    least, most = range_of(*(f'VMamba-{size}' for size in sizes))
    assert f'{least:.0f} to {most:.0f} times as fast as its authors' in words


def test_count_of_hierarchies(text, rows):
    found = rows('timm_hierarchies')
    assert f'[{sum(not row["reason"] for row in found)} of {len(found)}](docs/benchmarks/timm' in text


def test_speed_of_deployed_models(text, rows):
    cases = {
        'SwinPose-S-S3 in OpenVINO': ('swinpose_s_s3_coco', 'openvino', 'int8'),
        'GMFPose-S-S3 in OpenVINO': ('gmfpose_s_s3_coco', 'openvino', 'int8'),
        'VMPose-S-S3 in eager PyTorch': ('vmpose_s_s3_coco', 'eager', None),
    }
    for name, (config, *engines) in cases.items():
        for engine, cell in zip(engines, cells(text, name)[1:], strict=True):
            if engine:
                (row,) = rows('deploy_speed', config=config, part='model', engine=engine)
                assert cell == f'{float(row["ratio"]):.2f}x'


def test_speed_of_the_scan(measurements, rows):
    for problem in ('scan', 'cross'):
        for batch in (1, 8):
            (row,) = rows('selective_scan_speed', problem=problem, batch=batch, backend='cpp')
            assert f'{float(row["ratio"]):.0f}x' in measurements
    (row,) = rows('selective_scan_speed', problem='scan', batch=1, backend='cpp')
    assert f'takes {float(row["backend_ms"]):.1f} ms' in measurements


def test_scores_of_the_quickstart(repo_root, text):
    found = json.loads((repo_root / 'docs' / 'benchmarks' / 'quickstart.json').read_text(encoding='utf-8'))
    pose, mesh = found['pose'], found['mesh']
    words = ' '.join(text.split())
    assert f'AP {pose["coco/AP"]:.3f}, AR {pose["coco/AR"]:.3f}, Phi {pose["coco/Phi"]:.3f}' in words
    assert f'MPJPE {mesh["mesh/MPJPE"]:.1f} mm, PA-MPJPE {mesh["mesh/PA-MPJPE"]:.1f} mm' in words
    means = [mesh[f'mesh/{name} of the mean pose'] for name in ('MPJPE', 'PA-MPJPE')]
    assert f'the mean pose has {means[0]:.1f} and {means[1]:.1f} mm' in words
    total = sum(found['seconds'].values())
    assert f'took {total / 60:.0f} minutes' in words
    assert found['people']['num_train'] == 4000 and found['people']['scenes'] == 'simple'


def test_rate_of_rendered_people(training, rows):
    words = ' '.join(training.split())
    (simple,) = rows('synth_speed', scenes='simple', width=256)
    (varied,) = rows('synth_speed', scenes='varied', width=320)
    assert f'{float(simple["images_per_cpu_second"]):.0f} images a second and core at 256x192' in words
    assert f'{float(varied["images_per_cpu_second"]):.0f} at the default 320x256' in words


def test_rate_of_the_mesh_pipeline(training, rows):
    found = [float(row['ratio']) for row in rows('mesh_data_speed', pipeline='ours')]
    assert len(found) > 3
    assert f'{min(found):.1f} to {max(found):.1f} times as many samples' in ' '.join(training.split())


def test_share_of_the_network_in_inference(text, rows):
    words = ' '.join(text.split())
    common = dict(model='swinpose_s_s3', batch=1, engine='eager')
    shares = []
    for saved in ('none', 'json+overlay'):
        (row,) = rows('infer_speed', saved=saved, **common)
        shares.append(f'{float(row["in_the_network"].rstrip("%")):.0f} %')
    assert (
        f'spends {shares[0]} of its time in the network with SwinPose-S-S3 at batch 1, {shares[1]} when'
        in words
    )


@pytest.mark.parametrize('quantity', ['keypoints', 'joints'])
@pytest.mark.parametrize(
    ('precision', 'runtime', 'kind'),
    [
        ('int8', 'OpenVINO', 'openvino'),
        ('bf16', 'OpenVINO', 'openvino'),
        ('int8', 'onnxruntime', 'onnx'),
        ('fp16', 'onnxruntime', 'onnx'),
    ],
)
def test_what_other_precisions_move(measurements, rows, quantity, precision, runtime, kind):
    model = {'keypoints': 'swinpose_micro_s3_varied', 'joints': 'swinhmr2_micro_s3_varied'}[quantity]
    (row,) = rows('int8_drift', model=model, format=kind, precision=precision, quantity=quantity)
    numbers = [float(row[name]) for name in ('mean', 'median', 'p99', 'max')]
    expected = [f'{value:.{places}f}' for value, places in zip(numbers, (3, 3, 2, 1), strict=True)]
    expected.append(f'{100 * float(row["share_beyond_2"]):.2f} %')
    part = measurements.partition('| Mesh model |')[0 if quantity == 'keypoints' else 2]
    assert cells(part, f'{precision}, {runtime}') == expected


def test_what_int8_moves(text, rows):
    common = dict(model='swinpose_micro_s3_varied', format='openvino')
    (row,) = rows('int8_drift', precision='int8', **common)
    mean, last = float(row['mean']), float(row['p99'])
    words = ' '.join(text.split())
    assert f'by {mean:.2f} pixels on average ({last:.1f} at the 99th percentile)' in words
    (row,) = rows('int8_drift', precision='bf16', **common)
    assert f'`--precision bf16` by {float(row["mean"]):.2f}' in words
