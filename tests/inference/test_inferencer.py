"""One call from inputs to results: in order, in batches, in bounded memory, past bad input."""

import itertools
import json
import threading
import weakref

import cv2
import numpy as np
import pytest
from mmpose.apis import MMPoseInferencer

from mmhier.apis import Inferencer
from mmhier.inference.boxes import load_boxes
from mmhier.inference.estimators import Pose
from mmhier.media import Frame, Source, VideoWriter
from mmhier.results.frame_result import CONVENTIONS
from mmhier.zoo.names import resolve_config

POSE = 'swinpose_micro_s3_synth'
BOXES = [[8, 6, 60, 90, 1.0], [70, 10, 120, 92, 0.8]]


class Recorded:
    """Sizes of the batches that went through the network."""

    def __init__(self, monkeypatch, inferencer):
        self.sizes = []
        network = inferencer.estimator.network
        monkeypatch.setattr(
            inferencer.estimator, 'network', lambda crops: self.sizes.append(len(crops)) or network(crops)
        )


def test_batches_across_frames_change_nothing(monkeypatch, pose_inferencer, pictures):
    people = [2, 0, 1, 2, 2, 1]
    boxes = lambda image, source, frame_index: np.array(BOXES)[: people[frame_index], :4]  # noqa: E731
    recorded = Recorded(monkeypatch, pose_inferencer)
    results = list(pose_inferencer(pictures, boxes))
    assert [len(result.people) for result in results] == people
    assert [result.frame_index for result in results] == [0, 1, 2, 3, 4, 5]
    assert recorded.sizes == [4, 4]
    monkeypatch.setattr(pose_inferencer, 'batch_size', 1)
    singles = list(pose_inferencer(pictures, boxes))
    assert recorded.sizes[2:] == [1] * 8
    for result, single in zip(results, singles, strict=True):
        for person, other in zip(result.people, single.people, strict=True):
            np.testing.assert_allclose(person.keypoints, other.keypoints, atol=1e-2)
            np.testing.assert_allclose(person.keypoint_scores, other.keypoint_scores, atol=1e-5)
            np.testing.assert_array_equal(person.bbox, other.bbox)


def test_results_hold_what_is_known_about_the_frame(pose_inferencer, pictures):
    source = Source('clip.mp4', 'video', 'clip.mp4', 25.0)
    frames = [Frame(image, source, number, number / 25) for number, image in enumerate(pictures)]
    run = pose_inferencer(frames, BOXES)
    for number, result in enumerate(run):
        assert result.image is pictures[number]
        assert (result.source, result.frame_index, result.time_s) == ('clip.mp4', number, number / 25)
        assert (result.kind, result.sequence, result.fps) == ('video', 'clip.mp4', 25.0)
        assert result.image_hw == (96, 128) and result.model == POSE
        assert len(result.keypoint_names) == 17
        assert [person.bbox_score for person in result.people] == pytest.approx([1, 0.8])
        assert result.people[0].track_id is None
    assert (run.frames, run.people) == (6, 12)
    assert all(seconds > 0 for seconds in run.seconds.values())


class CountingVideo:
    """A long video made as it is read, which knows how many of its frames are alive."""

    def __init__(self, count):
        self.count, self.alive, self.most = count, 0, 0

    def __iter__(self):
        for _ in range(self.count):
            image = np.zeros((64, 48, 3), np.uint8)
            self.alive += 1
            self.most = max(self.most, self.alive)
            weakref.finalize(image, self._gone)
            yield image
            del image

    def _gone(self):
        self.alive -= 1


@pytest.mark.parametrize('every', [1, 50, 10**9])
def test_memory_does_not_grow_with_the_video(pose_inferencer, every):
    """People on all frames, on few, on none: a batch that does not fill must not hold frames back."""
    video, frames = CountingVideo(300), 0
    boxes = lambda image, source, frame_index: [[0, 0, 48, 64]] if frame_index % every == 0 else []  # noqa: E731
    for result in pose_inferencer(iter(video), boxes):
        frames += 1
        del result
    assert frames == 300
    assert video.most <= 8 + 2 * pose_inferencer.batch_size + 4


def test_reading_goes_on_while_the_network_runs(monkeypatch, pose_inferencer):
    """The network waits until one more frame has been asked for, which nobody would do without a thread."""
    asked = threading.Semaphore(0)

    def source():
        for _ in range(6):
            asked.release()
            yield np.zeros((64, 48, 3), np.uint8)
        asked.release()

    outputs = pose_inferencer.estimator.network(
        [pose_inferencer.estimator.crop(np.zeros((64, 48, 3), np.uint8), BOXES[0][:4])]
    )
    in_time = []

    def waiting_network(crops):
        in_time.append(asked.acquire(timeout=30))
        return dict(heatmaps=outputs['heatmaps'].expand(len(crops), -1, -1, -1))

    monkeypatch.setattr(pose_inferencer.estimator, 'network', waiting_network)
    asked_before = iter(source())
    frames = [next(asked_before)]
    assert asked.acquire(timeout=30)  # that of the first frame: each later one is asked for ahead
    list(pose_inferencer(itertools.chain(frames, asked_before), [[0, 0, 48, 64]]))
    assert in_time and all(in_time)


def test_stopping_early(pose_inferencer):
    video = CountingVideo(10**6)
    with pose_inferencer(iter(video), [[0, 0, 48, 64]]) as run:
        next(run)
    assert list(run) == []


def test_an_error_of_the_network_stops_reading(monkeypatch, pose_inferencer):
    def broken(crops):
        raise RuntimeError('out of memory')

    monkeypatch.setattr(pose_inferencer.estimator, 'network', broken)
    video = CountingVideo(10**6)
    with pytest.raises(RuntimeError, match='out of memory'):
        list(pose_inferencer(iter(video), [[0, 0, 48, 64]]))
    assert 'mmhier-frames' not in {thread.name for thread in threading.enumerate()}


def test_two_hundred_people(pose_inferencer, pictures):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (200, 2))], 1)
    (result,) = pose_inferencer(pictures[0], boxes)
    assert len(result.people) == 200
    assert np.isfinite([person.keypoints for person in result.people]).all()
    assert result.draw().shape == (96, 128, 3)


@pytest.mark.parametrize('kind', ['one pixel', 'grey', 'alpha', '16 bits'])
def test_unusual_images(pose_inferencer, tmp_path, kind):
    rng = np.random.default_rng(0)
    shape = {'one pixel': (1, 1, 3), 'grey': (60, 40), 'alpha': (60, 40, 4), '16 bits': (60, 40, 3)}[kind]
    dtype = np.uint16 if kind == '16 bits' else np.uint8
    image = rng.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    (from_file,) = pose_inferencer(tmp_path / 'image.png')
    (from_array,) = pose_inferencer(image)
    for result in (from_file, from_array):
        assert result.image_hw == shape[:2]
        assert np.isfinite(result.people[0].keypoints).all()
    np.testing.assert_array_equal(from_file.people[0].keypoints, from_array.people[0].keypoints)


def test_boxes_without_area_are_counted(pose_inferencer, pictures):
    boxes = lambda image: (np.array([[5, 5, 50, 60]]), np.array([1.0]))  # noqa: E731
    run = pose_inferencer(pictures[0], boxes)
    run._detector = lambda *_: (
        np.array([[5, 5, 50, 60], [9, 9, 9, 30], [0, 0, np.nan, 4], [0, 0, 1e30, 1e30]], np.float32),
        np.ones(4, np.float32),
    )
    (result,) = run
    assert len(result.people) == 1
    assert [(skip.reason, skip.count) for skip in run.skips] == [('boxes have no area or are not finite', 3)]


def test_boxes_far_outside_can_be_drawn(pose_inferencer, pictures):
    (result,) = pose_inferencer(pictures[0], [[-9e6, -9e6, 9e6, 9e6], [-9e5, -9e5, 1, 1]])
    assert len(result.people) == 2
    assert result.draw(score_thr=0, boxes=True).shape == (96, 128, 3)


def test_boxes_without_any_of_the_image_are_left_out_and_counted(pose_inferencer, pictures):
    outside = [[128, 0, 140, 90], [0, 96, 9, 99], [-9, 0, 0, 9], [0, -9, 9, 0], [9e5, 9e5, 9e5 + 9, 9e5 + 9]]
    run = pose_inferencer(pictures[:2], [*outside, [127, 95, 200, 200]])
    assert [len(result.people) for result in run] == [1, 1]
    assert run.left_out == {'boxes outside the image': 10} and not run.skips


def test_what_is_left_out_is_that_of_this_run(pose_inferencer, pictures, monkeypatch):
    detector = load_boxes([[8, 6, 60, 90, 1.0], [8, 6, 60, 90, 0.1]], 0.3)
    monkeypatch.setattr(pose_inferencer, 'detector', detector)
    for count in (2, 1):
        run = pose_inferencer(pictures[:count])
        assert len(list(run)) == count and run.left_out == {'boxes with a score below 0.3': count}


@pytest.mark.parametrize('content', [{'7': [[1, 1, 9, 9]]}, [dict(image_id=99, bbox=[1, 1, 5, 5])]])
def test_a_file_of_boxes_of_which_none_is_used(pose_inferencer, tmp_path, pictures, caplog, content):
    cv2.imwrite(str(tmp_path / '000001.png'), pictures[0])
    (tmp_path / 'boxes.json').write_text(json.dumps(content))
    (result,) = pose_inferencer(tmp_path / '000001.png', tmp_path / 'boxes.json')
    assert result.people == []
    assert 'none of the 1 boxes in' in caplog.text and 'boxes.json was used: it is of ' in caplog.text
    caplog.clear()
    cv2.imwrite(str(tmp_path / '000007.png'), pictures[0])
    cv2.imwrite(str(tmp_path / '000099.png'), pictures[0])
    list(pose_inferencer(tmp_path, tmp_path / 'boxes.json'))
    assert 'was used' not in caplog.text


def test_large_frames_do_not_wait_for_a_batch(pose_inferencer, pictures, monkeypatch):
    """A batch is of four people; two pictures are as many bytes as may wait."""
    monkeypatch.setattr('mmhier.inference.inferencer._WAITING_BYTES', 1.5 * pictures[0].nbytes)
    run = pose_inferencer(list(pictures), [BOXES[0]])
    waiting = []
    for _ in run:
        waiting.append(len(run._queue))
    assert len(waiting) == 6 and max(waiting) <= 1


def test_damaged_files_do_not_stop_the_others(pose_inferencer, pictures, tmp_path):
    for number, image in enumerate(pictures[:3]):
        cv2.imwrite(str(tmp_path / f'{number}.png'), image)
    (tmp_path / '1.png').write_bytes(b'\x89PNG and nothing more')
    run = pose_inferencer(tmp_path, BOXES)
    assert [result.source[-5:] for result in run] == ['0.png', '2.png']
    assert [skip.name[-5:] for skip in run.skips] == ['1.png']
    with pytest.raises(ValueError, match=r'nothing could be read: .*1.png'):
        list(pose_inferencer(tmp_path / '1.png'))


def test_the_whole_image_is_one_person_unless_somebody_knows_better(pictures, caplog):
    calls = []

    def detect(image):
        calls.append(image.shape)
        return np.array([[1, 2, 30, 40], [3, 4, 50, 60]]), np.array([0.9, 0.1])

    with_detector = Inferencer(POSE, 'random', 'cpu', detector=detect)
    (result,) = with_detector(pictures[0])
    assert [person.bbox.tolist() for person in result.people] == [[1, 2, 30, 40]]
    (result,) = with_detector(pictures[0], [[5, 5, 9, 9]])
    assert [person.bbox.tolist() for person in result.people] == [[5, 5, 9, 9]]
    assert len(calls) == 1
    with_detector.detector = None
    (result,) = with_detector(pictures[0])
    assert [person.bbox.tolist() for person in result.people] == [[0, 0, 128, 96]]
    assert 'whole image' in caplog.text


def moving_clip(path, frames=20):
    """A textured square that moves to the right by two pixels per frame."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 256, (8, 8, 3), np.uint8), (40, 60))
    with VideoWriter(path, 25) as writer:
        for number in range(frames):
            image = np.full((96, 128, 3), 90, np.uint8)
            image[20:80, 10 + 2 * number : 50 + 2 * number] = texture
            writer.write(image)
    return path


@pytest.mark.parametrize('stride', [1, 4])
def test_people_of_a_video_keep_their_number(tmp_path, stride, monkeypatch):
    clip, seen = moving_clip(tmp_path / 'clip.mp4'), []

    def detect(image, source, frame_index):
        seen.append(frame_index)
        left = 10 + 2 * frame_index
        return [[left, 20, left + 40, 80]], [0.9]

    inferencer = Inferencer(POSE, 'random', 'cpu', detector=detect, track=True, detector_stride=stride)
    grid = np.stack(np.meshgrid([-19, 0, 19], [-29, 0, 29]), -1).reshape(-1, 2)
    # A network that finds the square: the crop is where it was expected, the square where it is.
    lefts = iter(range(10, 50, 2))
    monkeypatch.setattr(
        inferencer.estimator,
        'poses',
        lambda outputs, crops, *_: [
            Pose((grid + [next(lefts) + 20, 50]).astype(np.float32), np.ones(9, np.float32)) for _ in crops
        ],
    )
    results = list(inferencer(clip))
    assert seen == list(range(0, 20, stride))
    numbers = [[person.track_id for person in result.people] for result in results]
    assert numbers == [[1]] * 20
    for result in results:
        assert abs(result.people[0].bbox[0] - 10 - 2 * result.frame_index) < 8


def test_a_mesh_model_gives_poses_and_bodies(mesh_results):
    for result in mesh_results:
        assert [person.track_id for person in result.people] == [1, 2]
        for person in result.people:
            assert person.keypoints.shape == (44, 2) and person.keypoint_scores.tolist() == [1] * 44
            assert person.mesh.joints_3d.shape == (44, 3)
            assert person.mesh.vertices().shape[1] == 3


def test_convention_of_the_camera_in_results(mesh_results):
    """What files say: the axis of the camera meets the point (width / 2, height / 2) of the keypoints."""
    assert '(width / 2, height / 2)' in CONVENTIONS['camera']
    for result in mesh_results:
        for person in result.people:
            place = person.mesh.joints_3d + person.mesh.transl
            height, width = result.image_hw
            projected = person.mesh.focal_length * place[:, :2] / place[:, 2:] + [width / 2, height / 2]
            # Joint by joint the crop's camera has another perspective. Half a pixel fails.
            np.testing.assert_allclose(projected.mean(0), person.keypoints.mean(0), atol=0.2)
            assert np.abs(projected - person.keypoints).max() < 0.06 * np.ptp(person.bbox[1::2])


def test_wrong_arguments():
    for options, message in [
        (dict(batch_size=0), 'batch_size must be at least 1'),
        (dict(detector_stride=0), 'detector_stride must be at least 1'),
        (dict(box_threshold=2), 'box_threshold must be from 0 to 1'),
        (dict(detector='nonsense'), 'unknown detector'),
        (dict(detector='yoloxs'), "unknown detector 'yoloxs'; did you mean yolox-s"),
        (dict(engine='Openvino'), "got 'Openvino'; did you mean openvino"),
        (dict(engine='onnxruntime', precision='bf16'), 'engine onnxruntime has no bf16'),
        (dict(precision='int8'), 'int8 needs pictures'),
    ]:
        with pytest.raises(ValueError, match=message):
            Inferencer(POSE, 'random', 'cpu', **options)


def test_mmposes_own_inferencer_takes_our_pose_configs(pictures, pose_inferencer, tmp_path):
    import torch

    torch.save(dict(state_dict=pose_inferencer.estimator.model.state_dict(), meta={}), tmp_path / 'pose.pth')
    theirs = MMPoseInferencer(
        str(resolve_config(POSE)), str(tmp_path / 'pose.pth'), device='cpu', det_model='whole_image'
    )
    theirs.inferencer.model.test_cfg['flip_test'] = False
    cv2.imwrite(str(tmp_path / 'a.png'), pictures[0])
    (found,) = theirs(str(tmp_path / 'a.png'))
    (result,) = pose_inferencer(tmp_path / 'a.png')
    keypoints = np.array(found['predictions'][0][0]['keypoints'])
    np.testing.assert_allclose(result.people[0].keypoints, keypoints, atol=1e-2)


def test_the_focal_length_is_what_was_asked_for_or_the_photo_says(mesh_inferencer, pictures, tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x8769] = {0xA405: 26}
    Image.fromarray(pictures[0]).save(tmp_path / 'photo.jpg', exif=exif)
    (result,) = mesh_inferencer(tmp_path / 'photo.jpg', BOXES)
    expected = 26 * np.hypot(96, 128) / np.hypot(24, 36)
    for person in result.people:
        assert (person.mesh.focal_source, person.mesh.focal_length) == ('exif', pytest.approx(expected))
    (assumed,) = mesh_inferencer(pictures[0], BOXES)
    for person, before in zip(assumed.people, result.people, strict=True):
        assert (person.mesh.focal_source, person.mesh.focal_length) == (
            'assumed',
            pytest.approx(122.94, abs=0.01),
        )
        ratio = person.mesh.transl[2] / before.mesh.transl[2]
        assert ratio == pytest.approx(122.94 / expected, rel=0.1)
        np.testing.assert_allclose(person.keypoints, before.keypoints, atol=2)  # JPEG
    text = json.dumps(result.to_json())
    assert '"focal_source": "exif"' in text


def test_a_focal_length_is_for_mesh_models():
    for options in (dict(fov=50), dict(focal='official')):
        with pytest.raises(ValueError, match='a focal length is for mesh models only'):
            Inferencer(POSE, 'random', 'cpu', **options)
    with pytest.raises(ValueError, match='expected 1 to 170 degrees'):
        Inferencer(POSE, 'random', 'cpu', fov=200)
