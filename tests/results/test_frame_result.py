"""Results say what they are, survive JSON and are drawn where the people are."""

import copy
import json

import numpy as np
import pytest

from mmhier.body_models.smpl_file import SMPLX_JOINT_NAMES
from mmhier.geometry.cameras import perspective_projection
from mmhier.results.files import ResultLines, finish
from mmhier.results.frame_result import (
    BODY_FIELDS,
    SCHEMA,
    VERSION,
    WHOLE_BODY_FIELDS,
    BodyMesh,
    frame_from_json,
)
from mmhier.testing.results import make_result


def through_json(result):
    document = json.loads(json.dumps(result.to_json(), allow_nan=False))
    return document, frame_from_json(document['frames'][0], document)


def test_json_holds_everything_but_the_image():
    result = make_result()
    result.people[1].track_id = 7
    document, read = through_json(result)
    assert (document['schema'], document['version']) == (SCHEMA, VERSION)
    assert set(document['conventions']) >= {'pixels', 'camera', 'bbox', 'keypoints', 'mesh.transl'}
    for name in ('source', 'frame_index', 'image_hw', 'time_s', 'keypoint_names', 'skeleton', 'model', 'fps'):
        assert getattr(read, name) == getattr(result, name), name
    for before, after in zip(result.people, read.people, strict=True):
        np.testing.assert_allclose(after.keypoints, before.keypoints, atol=5.1e-4)
        np.testing.assert_allclose(after.keypoint_scores, before.keypoint_scores, atol=5.1e-6)
        np.testing.assert_allclose(after.bbox, before.bbox, atol=5.1e-4)
        assert after.bbox_score == pytest.approx(before.bbox_score) and after.track_id == before.track_id
    assert read.image is None and read.people[0].mesh is None


def test_json_holds_bodies(mesh_results):
    result = mesh_results[1]
    _, read = through_json(result)
    for before, after in zip(result.people, read.people, strict=True):
        for name in ('global_orient', 'body_pose', 'betas', 'camera', 'transl', 'joints_3d'):
            old, new = getattr(before.mesh, name), getattr(after.mesh, name)
            assert old.shape == new.shape
            np.testing.assert_allclose(new, old, atol=1e-5, err_msg=name)
        assert after.mesh.body is None  # loaded again, by name
        np.testing.assert_allclose(after.mesh.vertices(), before.mesh.vertices(), atol=1e-5)
        np.testing.assert_allclose(after.mesh.joints(), before.mesh.joints_3d, atol=1e-5)


def whole_body(rng):
    """The body of somebody with hands and a face, all turned about x by their number in SMPL-X's order."""

    def turned(*numbers):
        angles = 0.02 * np.array(numbers)
        matrices = np.tile(np.eye(3), (len(numbers), 1, 1))
        matrices[:, 1, 1] = matrices[:, 2, 2] = np.cos(angles)
        matrices[:, 2, 1], matrices[:, 1, 2] = np.sin(angles), -np.sin(angles)
        return matrices.astype(np.float32)

    return BodyMesh(
        global_orient=turned(0), body_pose=turned(*range(1, 22)), jaw_pose=turned(22),
        left_hand_pose=turned(*range(25, 40)), right_hand_pose=turned(*range(40, 55)),
        betas=rng.normal(size=10).astype(np.float32), expression=rng.normal(size=10).astype(np.float32),
        camera=np.ones(3, np.float32), transl=np.ones(3, np.float32), focal_length=500.0,
        joints_3d=rng.normal(size=(137, 3)).astype(np.float32), body_model='smplx_neutral',
        joint_set='smplx137', part_boxes=rng.uniform(0, 90, (3, 4)).astype(np.float32),
    )  # fmt: skip


def test_whole_bodies_survive_json_and_npz(tmp_path):
    result = make_result(people=1)
    mesh = result.people[0].mesh = whole_body(np.random.default_rng(0))
    document, read = through_json(result)
    for name in (*BODY_FIELDS, *WHOLE_BODY_FIELDS):
        np.testing.assert_allclose(getattr(read.people[0].mesh, name), getattr(mesh, name), atol=6e-4)
    assert document['conventions'].keys() >= {f'mesh.{name}' for name in ('jaw_pose', 'part_boxes')}
    lines = ResultLines(tmp_path / 'results.jsonl')
    lines.write(result)
    lines.close()
    (file,) = finish(lines.path, ['npz'])
    with np.load(file) as arrays:
        for name in WHOLE_BODY_FIELDS:
            np.testing.assert_allclose(arrays[name][0], getattr(mesh, name), atol=6e-4, err_msg=name)


def test_convention_rotations_are_in_the_order_of_the_skeleton():
    turns = whole_body(np.random.default_rng(0)).rotations()
    assert turns.shape == (len(SMPLX_JOINT_NAMES), 3, 3)
    angles = np.arctan2(turns[:, 2, 1], turns[:, 1, 1])
    eyes = [SMPLX_JOINT_NAMES.index(f'{side}_eyeball') for side in ('left', 'right')]
    expected = 0.02 * np.arange(55)
    expected[eyes] = 0
    np.testing.assert_allclose(angles, expected, atol=1e-6)


def test_not_a_number_becomes_null_and_back():
    result = make_result(people=1)
    result.people[0].keypoints[1, 0] = np.nan
    document, read = through_json(result)
    assert document['frames'][0]['people'][0]['keypoints'][1][0] is None
    np.testing.assert_array_equal(np.isnan(read.people[0].keypoints), np.isnan(result.people[0].keypoints))


@pytest.mark.parametrize('change', [dict(schema='another'), dict(version=VERSION + 1)])
def test_other_schemas_are_refused(change):
    document = make_result().to_json() | change
    with pytest.raises(ValueError, match='this mmhier reads'):
        frame_from_json(document['frames'][0], document)


def test_nobody_and_nothing_to_draw_on():
    result = make_result(people=0)
    assert (result.draw() == 255).all() and result.draw().shape == (96, 128, 3)
    assert (result.draw_side() == 255).all()


def test_skeletons_are_drawn_where_the_keypoints_are():
    result = make_result(people=1, image=np.zeros((96, 128, 3), np.uint8))
    person = result.people[0]
    person.keypoints[:] = [[20, 20], [40, 60], [100, 30]]
    person.keypoint_scores[2] = 0.1
    drawn = result.draw()
    assert drawn[20, 20].any() and drawn[60, 40].any() and drawn[40, 30].any()
    assert not drawn[30, 100].any()  # of low score
    assert result.draw(score_thr=0.05)[30, 100].any()
    assert not result.image.any()
    assert not drawn[10, 60].any() and result.draw(boxes=True)[10, 60].any()
    person.track_id = 3
    assert (result.draw() != drawn).any()


def test_meshes_are_drawn_where_their_vertices_are_seen(mesh_results):
    import torch

    result = mesh_results[0]
    result.people[1:], removed = [], result.people[1:]
    mesh = result.people[0].mesh
    far = mesh.focal_length * 0.024
    mesh.transl, before = np.array([0.3, 0.0, far], np.float32), mesh.transl
    try:
        painted = (result.draw() != 255).any(axis=2)
        points = torch.from_numpy(mesh.vertices() + mesh.transl)
        center = torch.tensor([128 / 2, 96 / 2])
        seen = perspective_projection(points, None, mesh.focal_length, center).numpy()
        rows, columns = np.nonzero(painted)
        assert len(rows) > 50
        # Keypoints and vertices count from the centre of the first pixel; the label is outside of the body.
        low, high = seen.min(0), seen.max(0)
        inside = painted[int(low[1]) : int(high[1]) + 2, int(low[0]) : int(high[0]) + 2]
        assert inside.sum() > 0.9 * (painted[30:].sum())
        assert rows.max() == pytest.approx(high[1], abs=1.6) and columns.max() == pytest.approx(
            high[0], abs=1.6
        )
        assert (result.draw_side() != 255).any()
    finally:
        mesh.transl = before
        result.people += removed


def test_a_side_view_needs_meshes():
    with pytest.raises(ValueError, match='a_model predicts no meshes'):
        make_result().draw_side()


def test_everybody_has_a_colour_from_the_side(mesh_results):
    """The first is blue, whoever comes and goes; the overlay is blue unless asked."""

    def hues(picture):
        """How many pixels are mostly blue, and mostly red."""
        blue, _, red = picture.astype(int).transpose(2, 0, 1)
        return int((blue > red + 20).sum()), int((red > blue + 20).sum())

    result = copy.copy(mesh_results[0])
    result.people = [copy.copy(person) for person in result.people]
    for person in result.people:
        person.track_id = None
    blue, red = hues(result.draw_side(each=True))
    assert blue > 100 and red > 100
    assert hues(result.draw_side(each=True, colours='side'))[1] == 0 == hues(result.draw())[1]
    result.people[0].track_id, result.people[1].track_id = 2, 1
    tracked = result.draw_side(each=True)
    half = tracked.shape[1] // 2
    assert hues(tracked[:, :half])[0] == 0 == hues(tracked[:, half:])[1], 'by number, not by place'
    everybody = result.people
    for person, (none, some) in zip(everybody, ((0, 1), (1, 0))):
        result.people = [person]
        alone = hues(result.draw_side())
        assert alone[none] == 0 < alone[some], 'the same alone'


def test_everybody_from_the_side_in_a_field_of_their_own(mesh_results):
    """Two people beside each other, however far apart they are; nobody leaves the picture white."""
    result = copy.copy(mesh_results[0])
    result.people = [copy.copy(person) for person in result.people]
    result.people[1].mesh = copy.copy(result.people[1].mesh)
    result.people[1].mesh.transl = result.people[1].mesh.transl + np.array([0, 0, 500], np.float32)
    drawn = (result.draw_side(each=True) != 255).any(axis=2)
    height, width = result.image_hw
    assert drawn.shape == (height, width)
    for field in (drawn[:, : width // 2], drawn[:, width // 2 :]):
        rows, columns = np.nonzero(field)
        assert np.ptp(rows) > 0.8 * height or np.ptp(columns) > 0.8 * field.shape[1]
    together = (result.draw_side() != 255).any(axis=2)
    assert together.sum() < 0.1 * drawn.sum()
    result.people = []
    assert (result.draw_side(each=True) == 255).all()
