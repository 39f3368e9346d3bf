"""The command, as a user runs it: files, exit statuses, and what is left when it is stopped."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from mmhier.cli import main as cli
from mmhier.compat.checkpoint import TRUST_VARIABLE, is_trusted
from mmhier.media import VideoWriter
from mmhier.results.earlier import NAME
from mmhier.results.files import ResultLines, read_results
from mmhier.testing.results import make_result

POSE, MESH = 'swinpose_micro_s3_synth', 'swinhmr2_micro_s3_synth'
BOXES = {'clip.mp4': {str(number): [[8, 6, 60, 90], [70, 10, 120, 92]] for number in range(12)}}
OPTIONS = ['--model', POSE, '--weights', 'random', '--device', 'cpu']


@pytest.fixture
def clip(tmp_path, pictures):
    with VideoWriter(tmp_path / 'clip.mp4', 12.5) as writer:
        for number in range(12):
            writer.write(pictures[number % 6][:95, :127])
    (tmp_path / 'boxes.json').write_text(json.dumps(BOXES))
    return tmp_path / 'clip.mp4'


def start(*arguments, **options):
    command = [sys.executable, '-m', 'mmhier', 'infer', *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != NAME)


def test_a_video_to_all_files(clip, tmp_path, anny):
    """In a process of its own, with a mesh model."""
    process = start(
        clip, '--model', MESH, '--weights', 'random', '--boxes', tmp_path / 'boxes.json', '--smooth', '--out',
        tmp_path / 'out', '--save', 'json,npz,overlay,side,glb,bvh',
    )  # fmt: skip
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert re.search('12 frames, 24 people in .* s: loading .* network', out) and 'results.json' in out
    assert '12/12' in err  # progress
    assert 'focal length assumed (55 degrees' in out
    found = names(tmp_path / 'out')
    assert {'clip.glb', 'clip_overlay.mp4', 'clip_side.mp4', 'results.json', 'results.npz'} <= set(found)
    assert not [name for name in found if 'part' in name or name.endswith('.jsonl')]
    results = list(read_results(tmp_path / 'out' / 'results.json'))
    assert [result.frame_index for result in results] == list(range(12))
    assert {person.track_id for result in results for person in result.people} == {1, 2}
    capture = cv2.VideoCapture(str(tmp_path / 'out' / 'clip_overlay.mp4'))
    assert capture.get(cv2.CAP_PROP_FPS) == 12.5 and capture.get(cv2.CAP_PROP_FRAME_COUNT) == 12
    assert (capture.get(cv2.CAP_PROP_FRAME_WIDTH), capture.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (128, 96)


@pytest.mark.parametrize('slow', ['drawing', 'writing', 'decoding'])
def test_the_report_explains_the_time(clip, tmp_path, monkeypatch, capsys, slow):
    """Whatever takes long, it is named, and the parts are the whole to a few percent."""
    from mmhier.media import stream
    from mmhier.results.files import ResultLines
    from mmhier.results.frame_result import FrameResult

    def late(function):
        def call(*arguments, **options):
            time.sleep(0.1)
            return function(*arguments, **options)

        return call

    def late_frames(*arguments):
        yield from map(late(lambda frame: frame), read_video(*arguments))

    read_video = stream.read_video
    if slow == 'drawing':
        monkeypatch.setattr(FrameResult, 'draw', late(FrameResult.draw))
    elif slow == 'writing':
        monkeypatch.setattr(ResultLines, 'write', late(ResultLines.write))
    else:
        monkeypatch.setattr(stream, 'read_video', late_frames)
    begin = time.perf_counter()
    options = ['--boxes', tmp_path / 'boxes.json', '--batch-size', '2', '--out', tmp_path / 'out']
    assert infer(clip, *OPTIONS, *options) == 0
    wall = time.perf_counter() - begin
    waited, beside = capsys.readouterr().out.splitlines()[:2]
    total = float(re.search(r'12 frames, 24 people in ([\d.]+) s: ', waited)[1])
    assert total == pytest.approx(wall, abs=0.1)
    parts = {stage: float(spent) for stage, spent in re.findall(r'(\w+) ([\d.]+) s', waited.split(': ')[1])}
    assert sum(parts.values()) == pytest.approx(total, rel=0.05, abs=0.05 * len(parts))
    parts |= {stage: float(spent) for stage, spent in re.findall(r'(\w+) ([\d.]+) s', beside)}
    assert parts[slow] >= 1.2
    assert {'loading', 'frames', 'boxes', 'crops', 'network', 'poses', 'files', 'drawing'} < set(parts)


def test_interrupted_in_a_long_run(clip, tmp_path):
    lines = tmp_path / 'out' / 'results.jsonl'
    process = start(*[clip] * 500, *OPTIONS, '--out', tmp_path / 'out', '--save', 'json,npz,overlay')
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (lines.is_file() and lines.read_bytes().count(b'\n') > 20):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert 'interrupted' in err and 'Traceback' not in err
    document = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert document['complete'] is False and len(document['frames']) >= 20
    with np.load(tmp_path / 'out' / 'results.npz') as arrays:
        assert len(arrays['frame_index']) == len(document['frames'])
    videos = -(-len(document['frames']) // 12)
    overlays = ['clip_overlay.mp4', *(f'clip_{number}_overlay.mp4' for number in range(2, videos + 1))]
    assert names(tmp_path / 'out') == sorted([*overlays, 'results.json', 'results.npz'])


def infer(*arguments):
    return cli.main(['infer', *map(str, arguments)])


def test_animations_of_pictures_do_not_relate_them(tmp_path, pictures, anny):
    for number in range(2):
        cv2.imwrite(str(tmp_path / f'{number}.png'), pictures[number])
    options = ['--model', MESH, '--weights', 'random', '--device', 'cpu', '--quiet', '--save', 'json,glb,obj']
    assert infer(tmp_path / '0.png', tmp_path / '1.png', *options, '--out', tmp_path / 'out') == 0
    results = list(read_results(tmp_path / 'out' / 'results.json'))
    assert [person.track_id for result in results for person in result.people] == [None, None]
    meshes = ['0.glb', '0_person_0.obj', '1.glb', '1_person_0.obj']
    assert names(tmp_path / 'out') == [*meshes, 'results.json']


def test_pictures_of_a_folder_and_one_that_is_broken(tmp_path, pictures, capsys):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f'{number}.jpg'), pictures[number])
    (folder / '1.jpg').write_bytes((folder / '1.jpg').read_bytes()[:300])
    assert infer(folder, *OPTIONS, '--out', tmp_path / 'out') == 3
    captured = capsys.readouterr()
    assert '2 frames, 2 people' in captured.out
    assert re.search(r'skipped 1 in .*1\.jpg: .*damaged', captured.err)
    assert names(tmp_path / 'out') == ['0_overlay.jpg', '2_overlay.jpg', 'results.json']
    document = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert document['complete'] is True and len(document['skipped']) == 1


def test_what_is_left_out_is_one_line(tmp_path, pictures, capsys):
    """A low score, another category, a box outside, files of other kinds; the run is a success."""
    (tmp_path / 'in').mkdir()
    for number in (1, 2):
        cv2.imwrite(str(tmp_path / 'in' / f'{number:06d}.ppm'), pictures[number])
    (tmp_path / 'in' / 'notes.txt').write_text('no picture')
    found = [(1, 1, [5, 5, 50, 60], 0.9), (1, 1, [5, 5, 50, 60], 0.1), (2, 1, [200, 5, 9, 9], 0.9)]
    found += [(2, 18, [5, 5, 50, 60], 0.9)] * 2
    boxes = [dict(zip(('image_id', 'category_id', 'bbox', 'score'), one)) for one in found]
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
    options = [*OPTIONS, '--boxes', str(tmp_path / 'boxes.json'), '--out', str(tmp_path / 'out')]
    assert cli.main(['infer', str(tmp_path / 'in'), *options]) == 0
    err = capsys.readouterr().err
    (line,) = [line for line in err.splitlines() if 'left out' in line]
    assert line == (
        'mmhier: left out: files that are no pictures or videos (.txt): 1, boxes with a score below 0.3: 1, '
        'boxes of the category 18, no people: 2, boxes outside the image: 1'
    )
    assert cli.main(['infer', str(tmp_path / 'in'), *options, '--quiet']) == 0
    assert 'left out' not in capsys.readouterr().err


def test_boxes_of_none_of_the_images_are_never_silent(tmp_path, pictures, caplog):
    cv2.imwrite(str(tmp_path / '000001.png'), pictures[0])
    (tmp_path / 'boxes.json').write_text('[{"image_id": 139, "category_id": 1, "bbox": [1, 1, 9, 9]}]')
    options = [*OPTIONS, '--boxes', str(tmp_path / 'boxes.json'), '--out', str(tmp_path / 'out'), '--quiet']
    assert cli.main(['infer', str(tmp_path / '000001.png'), *options]) == 0
    assert re.search('none of the 1 boxes in .*boxes.json was used: it is of 139', caplog.text)


def test_a_picture_over_the_limit_is_skipped(tmp_path, pictures, capsys):
    cv2.imwrite(str(tmp_path / 'a.png'), pictures[0])
    cv2.imwrite(str(tmp_path / 'b.png'), pictures[0][:64, :64])
    options = [*OPTIONS, '--out', str(tmp_path / 'out'), '--max-megapixels', '0.005']
    assert cli.main(['infer', str(tmp_path), *options]) == 3
    assert re.search('a.png has 128 x 96 pixels.*--max-megapixels', capsys.readouterr().err)
    assert cli.main(['infer', str(tmp_path), *OPTIONS, '--max-megapixels', '-1']) == 1
    assert 'must be above 0' in capsys.readouterr().err


def test_a_name_that_is_not_utf_8_does_not_end_the_run(tmp_path, pictures, monkeypatch):
    """On a terminal that takes UTF-8 and nothing else, into a folder whose name is none, too."""
    (tmp_path / 'in').mkdir()
    names = [b'caf\xe9.png', b'other.png']
    for name in names:
        cv2.imwrite(str(tmp_path / 'a.png'), pictures[0])
        os.replace(tmp_path / 'a.png', os.path.join(os.fsencode(tmp_path / 'in'), name))
    out = os.fsdecode(os.path.join(os.fsencode(tmp_path), b'\xe9t\xe9'))
    printed = io.TextIOWrapper(io.BytesIO(), encoding='utf-8', errors='strict')
    monkeypatch.setattr(sys, 'stdout', printed)
    assert cli.main(['infer', str(tmp_path / 'in'), *OPTIONS, '--out', out]) == 0
    printed.seek(0)
    text = printed.read()
    assert '2 frames, 2 people' in text and r'\udce9t\udce9' in text
    with open(os.path.join(out, 'results.json'), encoding='utf-8') as file:
        sources = [os.fsencode(frame['source']) for frame in json.load(file)['frames']]
    assert [os.path.basename(source) for source in sources] == names


def test_quiet_prints_nothing(tmp_path, pictures, capfd):
    cv2.imwrite(str(tmp_path / 'a.png'), pictures[0])
    boxes = tmp_path / 'boxes.json'
    boxes.write_text('{"a.png": []}')
    assert infer(tmp_path / 'a.png', *OPTIONS, '--out', tmp_path / 'out', '--boxes', boxes, '--quiet') == 0
    captured = capfd.readouterr()
    assert captured.out == ''
    assert not [line for line in captured.err.splitlines() if 'random weights' not in line]
    (result,) = read_results(tmp_path / 'out' / 'results.json')
    assert result.people == []


def test_a_corrupt_video_is_used_and_reported(tmp_path, capsys):
    rng = np.random.default_rng(0)
    with VideoWriter(tmp_path / 'clip.mp4', 25) as writer:
        for _ in range(120):
            writer.write(cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (64, 48)))
    content = bytearray((tmp_path / 'clip.mp4').read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = rng.integers(0, 256, 4000, np.uint8).tobytes()
    (tmp_path / 'clip.mp4').write_bytes(content)
    status = infer(tmp_path / 'clip.mp4', *OPTIONS, '--out', tmp_path / 'out', '--quiet')
    assert status == 3 and re.search(r'skipped \d+ in .*clip.mp4: ', capsys.readouterr().err)
    results = list(read_results(tmp_path / 'out' / 'results.json'))
    assert 60 < len(results) <= 120 and results[-1].time_s == pytest.approx(119 / 25, abs=1e-3)


def test_a_full_disk_ends_with_4_and_keeps_the_results(clip, tmp_path, monkeypatch, capsys):
    from mmhier.results.files import ResultLines

    write = ResultLines._append

    def until_full(self, content):
        if content.get('frame_index') == 5:
            raise OSError(28, os.strerror(28), str(self.path))
        write(self, content)

    monkeypatch.setattr(ResultLines, '_append', until_full)
    assert infer(clip, *OPTIONS, '--out', tmp_path / 'out', '--quiet') == 4
    assert re.search('results cannot be written.*No space left', capsys.readouterr().err)
    document = json.loads((tmp_path / 'out' / 'results.json').read_text())
    assert document['complete'] is False
    assert [frame['frame_index'] for frame in document['frames']] == [0, 1, 2, 3, 4]


def test_sigterm_finishes_the_files_too(clip, tmp_path, monkeypatch, capsys):
    from mmhier.results.writer import ResultWriter

    write = ResultWriter.write

    def write_and_be_asked_to_stop(self, result):
        write(self, result)
        if result.frame_index == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(ResultWriter, 'write', write_and_be_asked_to_stop)
    before = signal.getsignal(signal.SIGTERM)
    assert infer(clip, *OPTIONS, '--out', tmp_path / 'out', '--quiet') == 130
    assert 'interrupted' in capsys.readouterr().err
    # The one that was being written, and those that were computed by then.
    assert 4 <= len(list(read_results(tmp_path / 'out' / 'results.json'))) <= 9
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_a_killed_run_has_left_can_be_finished(clip, tmp_path, capsys):
    lines = ResultLines(tmp_path / 'out' / 'results.jsonl')
    lines.write(make_result(0))
    lines.close()
    assert infer(clip, *OPTIONS, '--out', tmp_path / 'out', '--quiet') == 1
    assert 'mmhier infer --finish' in capsys.readouterr().err
    assert infer('--finish', lines.path) == 0
    assert names(tmp_path / 'out') == ['results.json', 'results.npz']


def test_trust_is_given_by_an_option(monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, '')
    assert infer('--model', POSE, '--trust-checkpoint') == 1  # no input
    assert is_trusted()


@pytest.mark.skipif(sys.platform != 'linux', reason='limits the size of files, as Linux does')
def test_finishing_on_a_full_disk_is_one_line(tmp_path, capsys):
    import resource

    lines = ResultLines(tmp_path / 'results.jsonl')
    lines.write(make_result(0, people=3))
    lines.close()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        status = infer('--finish', lines.path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert status == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert 'File too large' in line and f'{tmp_path}/results.json' in line and 'is still there' in line
    assert names(tmp_path) == ['results.jsonl']
    assert infer('--finish', lines.path) == 0
    assert names(tmp_path) == ['results.json', 'results.npz']


LATE = {
    'vitpose-plus-small is not on this machine, and MMHIER_OFFLINE forbids',
    'glb needs a mesh model',
    '--style both needs a mesh model',
    'a focal length is for mesh models only',
}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        (['--model', POSE], 'nothing to do'),
        (['a.jpg'], 'vitpose-plus-small is not on this machine, and MMHIER_OFFLINE forbids'),
        (['a.jpg', '--weights', 'a.jpg'], '--model is missing: the model that a.jpg is of'),
        (['a.jpg', '--weights', 'my.pth'], 'checkpoint my.pth does not exist'),
        (['a.jpg', '--weights', 'vitpose-plus-smal'], 'did you mean vitpose-plus-small'),
        (['a.jpg', '--weights', 'random'], '--model is missing: random weights fill any'),
        (['a.jpg', '--weights', 'yolox-s'], 'it is for --detector'),
        (['a.jpg', '--engine', 'openvno'], "got 'openvno'; did you mean openvino?"),
        (['a.jpg', '--precision', 'bf-16'], "got 'bf-16'; did you mean bf16?"),
        (
            ['a.jpg', '--engine', 'ogl'],
            'must be auto, eager, compile, onnxruntime, openvino or an exported file',
        ),
        (
            ['a.jpg', '--engine', 'micro.pth'],
            'micro.pth is a checkpoint (--weights), not an exported file; an',
        ),
        (['a.jpg', '--engine', 'a.jpg'], 'a.jpg: an exported file ends in .onnx, .xml, .pt, .pt2'),
        (['a.jpg', '--detector', 'yolox-ss'], "unknown detector 'yolox-ss'; did you mean yolox-s"),
        (['a.jpg', '--detector', 'absent.onnx'], 'absent.onnx does not exist'),
        (['a.jpg', '--detector', 'rtmdet:absent.onnx'], 'rtmdet:absent.onnx: absent.onnx does not exist'),
        (['a.jpg', '--engine', 'my.onnx'], 'does not exist; mmhier export writes a model and its .json'),
        (['a.jpg', '--engine', 'my.onnx', '--task', 'pose'], '--engine my.onnx names one: leave one out'),
        (['a.jpg', *OPTIONS, '--task', 'pose'], 'leave one out'),
        (['a.jpg', '--task', 'mesh'], 'mmhier models download hmr2b --accept-licence; and SMPL, from'),
        (['a.jpg', '--task', 'mesh'], '"open" needs neither: --model swinhmr2_micro_s3_varied is'),
        (['a.jpg', '--model', POSE, '--weights', 'yolox-s'], 'it is for --detector'),
        (['a.jpg', '--model', POSE, '--weights', 'vitpose-plus-smal'], 'did you mean vitpose-plus-small'),
        (['absent.jpg', *OPTIONS], 'absent.jpg does not exist'),
        (['a.jpg', *OPTIONS, '--save', 'json,pdf'], 'pdf: no such kind'),
        (['a.jpg', *OPTIONS, '--save', 'none'], 'would do nothing'),
        (['a.jpg', *OPTIONS, '--root', 'image'], '--root image would do nothing without --save'),
        (['a.jpg', *OPTIONS, '--free-feet'], '--free-feet would do nothing without --save glb'),
        (['a.jpg', *OPTIONS, '--save', 'glb'], 'glb needs a mesh model'),
        (['a.jpg', *OPTIONS, '--style', 'both'], '--style both needs a mesh model'),
        (['a.jpg', *OPTIONS, '--line-width', '-1'], 'line_width=-1'),
        (['a.jpg', *OPTIONS, '--score-threshold', '2'], 'score_thr=2'),
        (['a.jpg', '--model', 'nonsense'], 'neither a config file nor the name'),
        (['a.jpg', '--model', 'swinpose_micro_s3_varie'], 'swinpose_micro_s3_varied'),
        (['a.jpg', '--model', 'swinpose_s_s3'], 'swinpose_s_s3_coco needs weights'),
        (['a.jpg', *OPTIONS, '--boxes', 'absent.json'], 'absent.json'),
        (['a.jpg', *OPTIONS, '--detector', 'absent.onnx'], 'absent.onnx'),
        (['a.jpg', *OPTIONS, '--fov', '50'], 'a focal length is for mesh models only'),
        (['a.jpg', *OPTIONS, '--focal', 'wide'], '--focal wide: expected pixels, or official'),
        (['a.jpg', *OPTIONS, '--fov', '50', '--focal', '900'], 'the same twice'),
    ],
)
def test_errors_of_the_user_are_one_line(tmp_path, monkeypatch, capsys, arguments, message, pictures):
    monkeypatch.chdir(tmp_path)
    for name in ('MMHIER_HOME', 'MMHIER_BODY_MODELS'):
        monkeypatch.setenv(name, str(tmp_path / 'empty'))
    cv2.imwrite('a.jpg', pictures[0])
    assert infer(*arguments) == 1
    err = capsys.readouterr().err.splitlines()
    assert message in err[-1] and err[-1].startswith('mmhier: ')
    # What does not take a model to see is refused before it is said what is chosen.
    assert len(err) == 1 or message in LATE, err
    assert names(tmp_path) == ['a.jpg']


def test_files_with_similar_names_are_suggested(tmp_path, monkeypatch, capsys, pictures):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('a.jpg', pictures[0])
    for name in ('model.onnx', 'boxes.json'):
        (tmp_path / name).write_bytes(b'')
    for option, name, meant in (
        ('--engine', 'modle.onnx', 'model.onnx'),
        ('--detector', 'modle.onnx', 'model.onnx'),
        ('--detector', 'boxs.json', 'boxes.json'),
    ):
        assert infer('a.jpg', option, name) == 1
        assert f'{name} does not exist; did you mean {meant}?' in capsys.readouterr().err


def test_a_window_shows_what_is_found(tmp_path, monkeypatch, pictures):
    shown = []
    monkeypatch.setattr(cv2, 'namedWindow', lambda name: None)
    monkeypatch.setattr(cv2, 'imshow', lambda name, image: shown.append(image))
    monkeypatch.setattr(cv2, 'waitKey', lambda delay: ord('q') if len(shown) == 2 else -1)
    for number in range(3):
        cv2.imwrite(str(tmp_path / f'{number}.png'), pictures[number])
    assert infer(tmp_path, *OPTIONS, '--save', 'none', '--show', '--quiet') == 0
    assert len(shown) == 2 and shown[0].shape == (96, 128, 3)


def test_people_are_drawn_as_asked(tmp_path, pictures):
    """Every option reaches the picture."""
    cv2.imwrite(str(tmp_path / 'a.png'), pictures[0])
    (tmp_path / 'boxes.json').write_text(json.dumps({'a.png': [[8, 6, 60, 90]]}))
    options = [*OPTIONS, '--boxes', tmp_path / 'boxes.json', '--score-threshold', '0', '--save', 'overlay']

    def overlay(*more):
        out = tmp_path / '_'.join(('out', *more))
        assert infer(tmp_path / 'a.png', *options, '--quiet', '--out', out, *more) == 0
        return cv2.imread(str(out / 'a_overlay.jpg')).astype(int)

    plain = overlay()
    changed = [
        ('--background', 'white'), ('--background', 'dim'), ('--draw-boxes',), ('--line-width', '5'),
        ('--colours', 'person'), ('--score-threshold', '1'),
    ]  # fmt: skip
    drawn = [plain, *(overlay(*more) for more in changed)]
    for number, picture in enumerate(drawn):
        assert all(np.abs(picture - other).max() > 40 for other in drawn[:number])
    assert np.median(drawn[1]) > 250 and np.median(drawn[2]) < 0.6 * np.median(plain)


def test_no_display_is_said(tmp_path, monkeypatch, pictures, capsys):
    def fail(name):
        raise cv2.error('no GUI')

    monkeypatch.setattr(cv2, 'namedWindow', fail)
    cv2.imwrite(str(tmp_path / 'a.png'), pictures[0])
    assert infer(tmp_path / 'a.png', *OPTIONS, '--save', 'none', '--show') == 1
    assert 'pip install opencv-python' in capsys.readouterr().err


def test_help_imports_nothing_large():
    code = (
        'import sys\nfrom mmhier.cli.main import main\n'
        'try: main(["infer", "--help"])\n'
        'finally: print([name for name in ("torch", "numpy", "mmengine", "cv2") if name in sys.modules])'
    )
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout.endswith('[]\n')
    assert time.perf_counter() - begin < 5  # 0.1 s on an idle machine
    assert 'Exit status' in done.stdout


@pytest.fixture
def photos(tmp_path, pictures):
    folder = tmp_path / 'photos'
    folder.mkdir()
    for number, picture in enumerate(pictures[:3]):
        cv2.imwrite(str(folder / f'{"abc"[number]}.png'), picture)
    return folder


def test_a_box_file_without_one_of_the_images(photos, tmp_path, capsys):
    boxes = {'a.png': [[8, 6, 60, 90]], 'c.png': [[8, 6, 60, 90], [70, 10, 120, 92]]}
    (tmp_path / 'boxes.json').write_text(json.dumps(boxes))
    arguments = ['infer', str(photos), *OPTIONS, '--boxes', str(tmp_path / 'boxes.json')]
    arguments += ['--save', 'json', '--out', str(tmp_path / 'out')]
    assert cli.main(arguments) == 3
    error = capsys.readouterr().err
    text = 'nobody is looked for, as the file of boxes does not mention it'
    assert f'mmhier: {photos / "b.png"}: {text}\n' in error and 'skipped' not in error
    results = list(read_results(tmp_path / 'out' / 'results.json'))
    assert [len(result.people) for result in results] == [1, 0, 2]
    (tmp_path / 'boxes.json').write_text(json.dumps({'d.png': [[8, 6, 60, 90]]}))
    assert cli.main(arguments) == 1
    assert 'boxes.json has no boxes for' in capsys.readouterr().err


def test_boxes_of_images_of_another_size_are_refused_before_anything_runs(photos, tmp_path, capsys, pictures):
    """The third of three pictures, and a video: by their heads."""
    height, width = pictures[0].shape[:2]
    sizes = [(width, height), (width, height), (2 * width, 2 * height)]
    images = [dict(id=i, file_name=f'{"abc"[i]}.png', width=w, height=h) for i, (w, h) in enumerate(sizes)]
    content = dict(images=images, annotations=[], categories=[dict(id=1, name='person')])
    boxes, out = tmp_path / 'boxes.json', tmp_path / 'out'
    boxes.write_text(json.dumps(content))
    arguments = ['infer', str(photos), *OPTIONS, '--boxes', str(boxes), '--out', str(out)]
    assert cli.main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f'{boxes}: {photos / "c.png"} is {2 * width} x {2 * height} pixels there, but {width} x' in line
    assert 'find them again' in line and not out.exists()

    images[1]['width'] += 1
    boxes.write_text(json.dumps(content))
    assert cli.main(arguments) == 1
    assert 'b.png' in (err := capsys.readouterr().err) and 'Likewise 1 more' in err

    with VideoWriter(tmp_path / 'walk.mp4', 12.5) as writer:
        writer.write(pictures[0][:96, :128])
    content = dict(images=[dict(id=0, file_name='walk.mp4', width=640, height=480)], annotations=[])
    boxes.write_text(json.dumps(content))
    assert cli.main([arguments[0], str(tmp_path / 'walk.mp4'), *arguments[2:]]) == 1
    assert 'is 640 x 480 pixels there, but 128 x 96' in capsys.readouterr().err and not out.exists()


def test_leftovers_of_an_earlier_run(photos, tmp_path, caplog):
    out = tmp_path / 'out'
    arguments = ['infer', *OPTIONS, '--out', str(out)]
    assert cli.main([*arguments, str(photos / 'a.png')]) == 0
    (out / 'mine.txt').write_text('mine')
    (out / 'a_overlay.txt').write_text('mine, too')
    assert 'of earlier runs' not in caplog.text
    assert cli.main([*arguments, str(photos / 'b.png')]) == 0
    assert f'{out} holds 2 files of earlier runs' in caplog.text and '--overwrite' in caplog.text
    caplog.clear()
    own = {'mine.txt', 'a_overlay.txt'}
    assert {*names(out)} - own == {'a_overlay.jpg', 'b_overlay.jpg', 'results.json'}
    assert cli.main([*arguments, '--overwrite', str(photos / 'c.png')]) == 0
    assert 'of earlier runs' not in caplog.text
    assert {*names(out)} - own == {'c_overlay.jpg', 'results.json'}


@pytest.mark.parametrize('inputs', ['.', 'a_overlay.jpg', '*_overlay.jpg', '../link/b.png'])
def test_overwrite_never_removes_what_the_run_reads(photos, tmp_path, capsys, monkeypatch, inputs):
    out = tmp_path / 'out'
    arguments = ['infer', *OPTIONS, '--out', str(out)]
    assert cli.main([*arguments, str(photos / 'a.png')]) == 0
    (tmp_path / 'link').mkdir()
    (tmp_path / 'link' / 'b.png').symlink_to(out / 'a_overlay.jpg')
    before = {path: path.read_bytes() for path in out.iterdir()}
    capsys.readouterr()
    monkeypatch.setattr('mmhier.inference.inferencer.Inferencer', None)  # no model is loaded for it
    assert cli.main([*arguments, '--overwrite', str(out / inputs)]) == 1
    assert (
        f'--overwrite would remove {out / "a_overlay.jpg"}, which this run reads' in capsys.readouterr().err
    )
    boxes = ['--boxes', str(out / 'results.json')]
    assert cli.main([*arguments, '--overwrite', str(photos / 'a.png'), *boxes]) == 1
    assert f'--overwrite would remove {out / "results.json"}, which' in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_nothing_that_is_read_is_written_over(photos, capsys, monkeypatch):
    (photos / 'a.png').rename(photos / 'a_overlay.jpg')
    (photos / 'b.png').rename(photos / 'a.png')
    (photos / 'results.json').write_text(json.dumps({'a.png': [[8, 6, 60, 90]]}))
    before = {path: path.read_bytes() for path in photos.iterdir()}
    monkeypatch.setattr('mmhier.inference.inferencer.Inferencer', None)  # no model is loaded for it
    monkeypatch.chdir(photos)
    boxes = ['--save', 'json', '--boxes', 'results.json']
    for more, name in (
        (['.'], 'a_overlay.jpg'),
        (['a.png', 'a_overlay.jpg', '--overwrite'], 'a_overlay.jpg'),
        (['c.png', *boxes], 'results.json'),
    ):
        assert infer(*OPTIONS, '--out', photos, *more) == 1
        assert f'results of this run may replace {name}, which it reads' in capsys.readouterr().err
    assert {path: path.read_bytes() for path in photos.iterdir()} == before


def test_boxes_of_other_images_replace_no_results(photos, tmp_path, capsys):
    out, boxes = tmp_path / 'out', tmp_path / 'boxes.json'
    assert infer(photos / 'a.png', *OPTIONS, '--out', out, '--save', 'json,overlay,npz') == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    boxes.write_text('{"d.png": [[8, 6, 60, 90]]}')
    old = (out / 'results.json').read_text().replace('photos', 'other')
    (tmp_path / 'other.json').write_text(old.replace('a.png', 'd.png'))
    for option, file in (('--boxes', boxes), ('--detector', boxes), ('--boxes', tmp_path / 'other.json')):
        assert infer(photos / 'a.png', photos / 'b.png', *OPTIONS, '--out', out, option, file) == 1
        assert re.search(r'json has no (boxes for|results of) \S*/a\.png', capsys.readouterr().err)
    assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_a_run_that_fails_overwrites_nothing(photos, tmp_path, capsys):
    out, bad = tmp_path / 'out', tmp_path / 'bad.jpg'
    bad.write_bytes(b'no picture')
    arguments = ['infer', *OPTIONS, '--out', str(out), '--overwrite']
    assert cli.main([*arguments, str(photos / 'a.png')]) == 0
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert cli.main([*arguments, str(bad)]) == 1
    assert 'nothing could be read' in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert cli.main([*arguments, str(photos / 'b.png')]) == 0
    assert names(out) == ['b_overlay.jpg', 'results.json']
    assert set(json.loads((out / NAME).read_text())) == {*names(out)}


def test_out_is_a_file(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('mmhier.inference.inferencer.Inferencer', None)  # no model is loaded for it
    file = tmp_path / 'out'
    file.write_text('mine')
    for place, message in (
        (file, f'{file} is a file; name a folder'),
        (file / 'x', f'below the file {file}'),
    ):
        assert cli.main(['infer', str(photos), *OPTIONS, '--out', str(place)]) == 1
        assert message in capsys.readouterr().err
    assert file.read_text() == 'mine'


def test_an_exported_file_says_of_which_model_it_is(photos, tmp_path, capsys):
    exported = tmp_path / 'pose.pt'
    export = ['export', POSE, 'random', '--crops', str(photos), '--num-crops', '2', '--bound', '1000']
    assert cli.main([*export, '--out', str(exported)]) == 0, 'the format is that of the name'
    arguments = ['infer', str(photos / 'a.png'), '--engine', str(exported), '--out', str(tmp_path / 'out')]
    assert cli.main(arguments) == 0
    (result,) = read_results(tmp_path / 'out' / 'results.json')
    assert result.model == POSE and len(result.keypoint_names) == 17
    capsys.readouterr()
    description = tmp_path / 'pose.pt.json'
    facts = json.loads(description.read_text())
    for change, message in (
        (
            dict(config='my_pose'),
            'is an export of my_pose, which is no model of mmhier: name its config file',
        ),
        (dict(keypoint_names=['tip', 'tail']), 'gives 2 keypoints (tip, tail ...), the model 17 (nose, '),
        (dict(config=None), 'does not say of which model it is'),
    ):
        description.write_text(json.dumps(facts | change))
        assert cli.main(arguments) == 1
        assert message in capsys.readouterr().err
    description.unlink()
    assert cli.main(arguments) == 1
    assert 'pose.pt.json does not exist' in capsys.readouterr().err
