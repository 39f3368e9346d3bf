"""The page of ``mmhier app``: its work without a browser, then the page itself in a headless one."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmhier.cli import main as cli
from mmhier.detection.detector import WholeImage
from mmhier.media import VideoWriter, write_image
from mmhier.web import page as app
from mmhier.web.gate import clear_dead_folders
from mmhier.web.page import Analyzer, Model, boxes_of, draw_corners, find_models
from mmhier.zoo.names import resolve_config

POSE, MESH = 'swinpose_micro_s3_synth', 'swinhmr2_micro_s3_synth'
MAX_FRAMES = 6

FLAGS = (
    '--no-sandbox --disable-quic --no-first-run --disable-background-networking --disable-component-update '
    '--disable-sync --use-angle=swiftshader --enable-unsafe-swiftshader --ignore-gpu-blocklist'
)
WAIT = 60_000  # milliseconds


def make_analyzer(folder, *names, **settings):
    models = {name: Model(resolve_config(name), 'random') for name in names}
    return Analyzer(models, folder, MAX_FRAMES, device='cpu', **settings)


@pytest.fixture
def analyzer(tmp_path):
    return make_analyzer(tmp_path / 'app', POSE)


@pytest.fixture(scope='module')
def person(tmp_path_factory, anny):
    """A picture of a synthetic person."""
    folder = tmp_path_factory.mktemp('people')
    assert cli.main(['synth', str(folder), '--train=1', '--val=1', '--scenes=simple']) == 0
    return shutil.copy(folder / 'images/val/00000001.jpg', folder / 'person.jpg')


@pytest.fixture(scope='module')
def clip(tmp_path_factory, pictures):
    """A video of four frames."""
    return make_video(tmp_path_factory.mktemp('clips') / 'clip.mp4', pictures[:4])


@pytest.fixture(scope='module')
def long_clip(tmp_path_factory, pictures):
    """A video with one frame more than is taken."""
    return make_video(tmp_path_factory.mktemp('clips') / 'long.mp4', [*pictures, pictures[0]])


def make_video(path, images):
    with VideoWriter(path, fps=10) as writer:
        for image in images:
            writer.write(image)
    return path


def glb_scene(content: bytes) -> dict:
    """JSON of a GLB file."""
    magic, version, length, size, kind = struct.unpack('<4sIIII', content[:20])
    assert (magic, version, length, kind) == (b'glTF', 2, len(content), 0x4E4F534A)
    return json.loads(content[20 : 20 + size])


def test_boxes_of_pairs_of_corners():
    assert boxes_of([]) is None
    assert boxes_of([[5, 6]]) is None
    marked = boxes_of([[5, 60], [40, 6], [1, 2], [3, 4], [9, 9]])
    np.testing.assert_array_equal(marked, [[5, 6, 40, 60], [1, 2, 3, 4]])


def test_corners_are_drawn_over_a_copy():
    image = np.zeros((60, 80, 3), np.uint8)
    drawn = draw_corners(image, [[10, 40], [30, 5], [60, 50]])
    assert not image.any()
    for x, y in ((10, 5), (10, 20), (30, 40), (60, 50)):
        np.testing.assert_array_equal(drawn[y, x], app.MARK)
    assert not drawn[20, 20].any()


def test_without_a_detector_nothing_is_fetched(tmp_path):
    """The page says that the whole picture is one person, and that it needs no internet."""
    assert isinstance(make_analyzer(tmp_path, POSE).inferencer(POSE).detector, WholeImage)


def test_models_with_weights_are_offered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match='no model has weights.*--weights FILE'):
        find_models()
    with pytest.raises(FileNotFoundError, match=f'{POSE} needs weights'):
        find_models(POSE)
    with pytest.raises(ValueError, match='some.pth needs --model'):
        find_models(None, 'some.pth')
    place = Path('pretrained', 'swinpose_s_s3_coco.pth')
    place.parent.mkdir()
    place.touch()
    assert {name: model.weights for name, model in find_models().items()} == {'swinpose_s_s3_coco': place}
    Path('mine.pth').touch()
    found = find_models(MESH, 'mine.pth')
    assert list(found) == [MESH, 'swinpose_s_s3_coco']
    assert found[MESH] == Model(resolve_config(MESH), 'mine.pth')


def test_picture_with_marked_people(analyzer, person):
    frames = []
    boxes = boxes_of([[80, 5], [160, 250], [200, 10], [300, 200]])
    found = analyzer(person, POSE, boxes=boxes, advance=lambda done, total: frames.append((done, total)))
    assert frames == [(1, 1)]
    parts = [float(seconds) for seconds in re.findall(r'([\d.]+) s', found.summary)]
    whole, network, drawing, writing = parts
    assert found.summary.startswith('person.jpg: 2 people, ')
    assert network > 0 and drawing + writing > 0 and sum(parts[1:]) <= whole + 0.02
    assert found.scene is None
    names = {path.name for path in found.files}
    assert names == {'person_overlay.jpg', 'results.json', 'results.npz'}
    assert cv2.imread(str(found.overlay)).shape == cv2.imread(str(person)).shape
    document = json.loads((analyzer.folder / 'results' / 'results.json').read_text())
    assert [one['bbox'] for one in document['frames'][0]['people']] == boxes.tolist()


def test_results_of_the_run_before_are_removed(analyzer, person, clip):
    before = analyzer(clip, POSE).files
    after = analyzer(person, POSE).files
    assert all(path.is_file() for path in after)
    assert {path.name for path in before} == {'clip_overlay.mp4', 'results.json', 'results.npz'}
    assert not (analyzer.folder / 'results' / 'clip_overlay.mp4').exists()


def test_video_of_a_mesh_model_is_tracked_and_has_a_scene(tmp_path, clip, anny):
    analyzer = make_analyzer(tmp_path, MESH)
    found = analyzer(clip, MESH, smooth=True)
    assert found.summary.startswith('clip.mp4: 4 frames, 4 people, ')
    assert found.overlay.name == 'clip_overlay.mp4'
    assert {'clip.glb', 'clip.bvh', 'clip_side.mp4'} <= {path.name for path in found.files}
    assert glb_scene(found.scene.read_bytes())['animations']
    frames = json.loads((found.overlay.parent / 'results.json').read_text())['frames']
    assert [[one['track_id'] for one in frame['people']] for frame in frames] == [[1]] * 4


def test_stopping_keeps_what_is_there(analyzer, clip):
    done = []
    found = analyzer(
        clip, POSE, advance=lambda count, total: done.append(count), stopped=lambda: len(done) == 2
    )
    assert done == [1, 2]
    assert found.summary.endswith('Stopped before the end.')
    document = json.loads((found.overlay.parent / 'results.json').read_text())
    assert len(document['frames']) == 2 and not document['complete']
    capture = cv2.VideoCapture(str(found.overlay))
    assert [capture.read()[0] for _ in range(3)] == [True, True, False]


def test_too_long_videos_are_refused_before_work(analyzer, long_clip):
    for refuse in (lambda: analyzer.look(long_clip), lambda: analyzer(long_clip, POSE)):
        with pytest.raises(ValueError, match=r'long\.mp4 has 7 frames, .* takes 6.*--max-frames 7'):
            refuse()
    assert not (analyzer.folder / 'results').exists()


def test_files_that_are_no_pictures_are_refused(analyzer, tmp_path):
    for name in ('notes.txt', 'broken.jpg', 'broken.mp4'):
        path = tmp_path / name
        path.write_text('no picture')
        for refuse in (lambda path=path: analyzer.look(path), lambda path=path: analyzer(path, POSE)):
            with pytest.raises(ValueError, match=f'nothing could be read.*{name}'):
                refuse()


def test_first_image_is_rgb(analyzer, tmp_path):
    path = tmp_path / 'blue.png'
    write_image(path, np.full((8, 9, 3), (200, 0, 0), np.uint8))
    image, frames = analyzer.look(path)
    assert frames == 1 and image.shape == (8, 9, 3)
    assert image[0, 0].tolist() == [0, 0, 200]


def test_nobody_is_said(tmp_path, person):
    analyzer = make_analyzer(tmp_path, POSE, detector=lambda image: (np.zeros((0, 4)), np.zeros(0)))
    with pytest.raises(ValueError, match='no people were found in person.jpg'):
        analyzer(person, POSE)


def test_without_gradio_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, 'gradio', None)
    assert cli.main(['app']) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert 'pip install gradio' in line


@pytest.fixture(scope='module')
def served(tmp_path_factory, anny):
    """The page, served: its address and its analyzer."""
    pytest.importorskip('gradio')
    analyzer = make_analyzer(tmp_path_factory.mktemp('served'), MESH, POSE)
    page = app.build_page(analyzer)
    assert not page.analytics_enabled
    yield app.launch(page), analyzer
    page.close(verbose=False)


def test_served_to_this_machine_only_and_without_other_addresses(served):
    url, _ = served
    assert url.startswith('http://127.0.0.1:')
    config = json.loads(urllib.request.urlopen(f'{url}config', timeout=10).read())
    assert config['analytics_enabled'] is False
    assert all(one['api_visibility'] == 'private' for one in config['dependencies'])
    port = int(url.rstrip('/').rpartition(':')[2])
    import gradio

    with gradio.Blocks() as other, pytest.raises(ValueError, match=f'cannot listen at 127.0.0.1:{port}'):
        app.launch(other, port=port)


def ask(url, path='', method='GET', body=None, **headers):
    """Status and body of an answer."""
    request = urllib.request.Request(url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_other_pages_and_names_are_refused(served):
    url, analyzer = served
    host = url.split('/')[2]
    picture = (
        b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\npicture\r\n--b--\r\n'
    )
    form = {'Content-Type': 'multipart/form-data; boundary=b'}

    def upload(**headers):
        return ask(url, 'gradio_api/upload', 'POST', picture, **form, **headers)

    def uploaded():
        return sorted(path.name for path in (analyzer.folder / 'uploads').rglob('a.png'))

    for foreign in (
        {'Origin': 'http://evil.example.com'},
        {'Origin': 'null'},
        {'Host': 'evil.example.com', 'Origin': 'http://evil.example.com'},
        {'Host': 'evil.example.com'},
    ):
        assert upload(**foreign)[0] == 403
        assert ask(url, 'config', **foreign)[0] == 403
        assert ask(url, **foreign)[0] == 403
    assert uploaded() == []
    status, answer = upload(Origin=f'http://{host}')
    assert status == 200 and json.loads(answer)[0].endswith('a.png')
    assert uploaded() == ['a.png']
    assert ask(url, 'config', Host=host.replace('127.0.0.1', 'localhost'))[0] == 200


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_command_serves_until_it_is_told_to_stop(number, tmp_path, monkeypatch):
    pytest.importorskip('gradio')
    command = [sys.executable, '-m', 'mmhier', 'app', '--model', POSE, '--weights', 'random']
    environment = os.environ | {
        'TMPDIR': str(tmp_path),
        'http_proxy': 'http://127.0.0.1:9',
    }  # nobody is there
    process = subprocess.Popen([*command, '--device=cpu'], stdout=subprocess.PIPE, text=True, env=environment)
    try:
        url = process.stdout.readline().split()[0]
        assert b'mmhier' in urllib.request.urlopen(url, timeout=30).read()
        assert list(tmp_path.glob('mmhier_app_*'))
        process.send_signal(number)
        assert process.wait(30) == (0 if number != signal.SIGKILL else -signal.SIGKILL)
    finally:
        process.kill()
    if number == signal.SIGKILL:
        monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path))
        assert len(clear_dead_folders()) == 1  # as the next start does
    assert not list(tmp_path.glob('mmhier_app_*')), 'uploads and results go with the program'


@pytest.fixture
def browser_page(served):
    """The page in a headless browser, and the hosts that the browser asked for anything."""
    playwright = pytest.importorskip('playwright.sync_api')
    names = ('chromium', 'chromium-browser', 'google-chrome')
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        pytest.skip(f'none of {", ".join(names)} is installed')
    hosts = set()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=FLAGS.split())
        page = browser.new_page(viewport=dict(width=1280, height=1000))
        page.set_default_timeout(WAIT)
        page.on('request', lambda request: hosts.add(request.url.split('/')[2]))
        page.goto(served[0])
        yield page, hosts
        browser.close()


def upload(page, path, status):
    page.locator('input[type=file]').first.set_input_files(path)
    wait_for_status(page, status)


def wait_for_status(page, text):
    page.wait_for_function(
        'text => document.querySelector("textarea")?.value.includes(text)', arg=text, timeout=WAIT
    )


def wait_for_picture(page):
    image = 'document.querySelector("#picture img")'
    page.wait_for_function(f'{image}?.complete && {image}.naturalWidth == 320')


def download(page, name):
    with page.expect_download() as event:
        page.locator(f'#files a[download="{name}"]').first.click()
    return Path(event.value.path()).read_bytes()


@pytest.mark.slow
def test_picture_in_a_browser(browser_page, person):
    page, hosts = browser_page
    wait_for_status(page, app.READY)
    page.get_by_role('button', name='Run').click()
    wait_for_status(page, 'Choose a picture or a video first.')

    upload(page, person, 'person.jpg: 320 x 256 pixels. Press Run.')
    wait_for_picture(page)
    area = page.locator('#picture img').bounding_box()
    left, top = area['x'] + (area['width'] - 320) / 2, area['y'] + (area['height'] - 256) / 2
    page.mouse.click(left + 250, top + 240)
    wait_for_status(page, 'Now the opposite corner.')
    wait_for_picture(page)
    page.mouse.click(left + 60, top + 10)
    wait_for_status(page, 'Marked: 1. Press Run.')

    page.get_by_role('button', name='Run').click()
    wait_for_status(page, 'person.jpg: 1 person, ')
    page.wait_for_function('document.querySelector("#picture img").src.endsWith("person_overlay.jpg")')
    document = json.loads(download(page, 'results.json'))
    (found,) = document['frames'][0]['people']
    np.testing.assert_allclose(found['bbox'], [60, 10, 250, 240], atol=1.5)
    scene = glb_scene(download(page, 'person.glb'))
    assert len(scene['meshes']) == 1 and scene['skins']

    canvas = page.locator('canvas')
    for _ in range(40):  # the viewer loads, then draws
        page.wait_for_timeout(250)
        view = cv2.imdecode(np.frombuffer(canvas.screenshot(), np.uint8), cv2.IMREAD_COLOR)
        background = view[-1, 0].astype(int)
        drawn = (np.abs(view - background).max(axis=2) > 30).mean()
        if drawn > 0.05:
            break
    assert drawn > 0.05, 'a body is seen in the viewer'
    assert hosts == {page.url.split('/')[2]}, 'nothing is loaded from elsewhere'


@pytest.mark.slow
def test_video_and_bad_input_in_a_browser(browser_page, clip, long_clip, tmp_path):
    pytest.importorskip('av')
    page, _ = browser_page
    broken = tmp_path / 'broken.jpg'
    broken.write_text('no picture')
    upload(page, broken, 'nothing could be read: broken.jpg')
    page.get_by_label('Clear', exact=True).first.click()
    wait_for_status(page, app.READY)
    upload(page, long_clip, 'long.mp4 has 7 frames, and this page takes 6')
    page.get_by_label('Clear', exact=True).first.click()
    wait_for_status(page, app.READY)
    upload(page, clip, 'clip.mp4: 128 x 96 pixels, 4 frames. Press Run.')
    page.get_by_role('button', name='Run').click()
    wait_for_status(page, 'clip.mp4: 4 frames, 4 people')
    video = page.locator('video').first
    video.wait_for(state='visible')
    assert video.evaluate('video => video.currentSrc').endswith('clip_overlay.mp4')
    if video.evaluate('video => video.canPlayType(\'video/mp4; codecs="avc1.42E01E"\')'):
        page.wait_for_function('document.querySelector("video").videoWidth == 128')
    assert len(json.loads(download(page, 'results.json'))['frames']) == 4


def test_port_0_is_any_that_is_free(anny, tmp_path):
    gradio = pytest.importorskip('gradio')
    with gradio.Blocks() as page:
        url = app.launch(page, port=0)
    try:
        assert int(url.rstrip('/').rpartition(':')[2]) > 0
        assert ask(url)[0] == 200
    finally:
        page.close(verbose=False)


@pytest.mark.parametrize('port', [-1, 65536])
def test_no_port(port):
    pytest.importorskip('gradio')
    with pytest.raises(ValueError, match=f'--port {port}: expected 1 to 65535, or 0'):
        app.launch(None, port=port)
