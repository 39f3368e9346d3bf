import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from mmhier.scene_files.motion import camera_to_world, palette
from mmhier.scene_files.usd_file import write_usd

MILLIMETRE = 1e-3


@pytest.fixture
def pxr():
    pytest.importorskip('pxr', reason='needs usd-core')
    import pxr
    from pxr import Usd, UsdGeom, UsdShade, UsdSkel  # noqa: F401

    return pxr


def pose_person(pxr, stage, name, frame):
    """Vertices and joints of a person at a frame, by UsdSkel's own skinning."""
    root = pxr.UsdSkel.Root(stage.GetPrimAtPath(f'/scene/{name}'))
    cache = pxr.UsdSkel.Cache()
    predicate = pxr.Usd.PrimDefaultPredicate
    assert cache.Populate(root, predicate)
    [binding] = cache.ComputeSkelBindings(root, predicate)
    skeleton = cache.GetSkelQuery(binding.GetSkeleton())
    [target] = binding.GetSkinningTargets()
    points = pxr.UsdGeom.Mesh(target.GetPrim()).GetPointsAttr().Get()
    assert target.ComputeSkinnedPoints(skeleton.ComputeSkinningTransforms(frame), points, frame)
    joints = skeleton.ComputeJointSkelTransforms(frame)
    return np.array(points), np.array([joint.ExtractTranslation() for joint in joints])


@pytest.mark.parametrize('suffix', ['usda', 'usdc', 'usd'])
def test_usdskel_gives_the_body(pxr, open_layer, make_motion, posed, tmp_path, suffix):
    motion = make_motion(open_layer, [3, 7, 20])
    stage = pxr.Usd.Stage.Open(str(write_usd(tmp_path / f'clip.{suffix}', [motion])))
    camera = np.array(stage.GetRootLayer().customLayerData['camera_position'])
    for frame, *expected in zip(motion.frame_numbers.tolist(), *posed(motion)):
        for found, wanted in zip(pose_person(pxr, stage, 'person_0', frame), expected):
            difference = found - (camera_to_world(wanted) + camera)
            assert np.abs(difference).max() < 0.05 * MILLIMETRE


def test_keys_are_at_the_frames_own_times(pxr, plain_layer, make_motion, posed, tmp_path):
    times, fps = np.concatenate([np.arange(12) / 30, 0.4 + np.arange(12) / 10]), 120 / 7
    motion = replace(make_motion(plain_layer, [1, 5, 6, 15, 20]), fps=fps, times_s=times)
    stage = pxr.Usd.Stage.Open(str(write_usd(tmp_path / 'clip.usda', [motion])))
    assert stage.GetTimeCodesPerSecond() == pytest.approx(fps)
    assert stage.GetStartTimeCode() == pytest.approx(times[1] * fps)
    assert stage.GetEndTimeCode() == pytest.approx(times[20] * fps)
    camera = np.array(stage.GetRootLayer().customLayerData['camera_position'])
    for number, wanted in zip(motion.frame_numbers.tolist(), posed(motion)[1]):
        _, joints = pose_person(pxr, stage, 'person_0', times[number] * fps)
        np.testing.assert_allclose(joints, camera_to_world(wanted) + camera, atol=1e-4)
    imageable = pxr.UsdGeom.Imageable(stage.GetPrimAtPath('/scene/person_0'))
    seen = [imageable.GetVisibilityAttr().Get(times[number] * fps) for number in (1, 2, 5, 6, 7, 15, 20)]
    assert [one == 'inherited' for one in seen] == [True, False, True, True, False, True, True]


def test_several_people(pxr, plain_layer, chain_layer, make_motion, posed, tmp_path):
    motions = [
        make_motion(plain_layer, range(4, 10), 'person 0'),
        make_motion(chain_layer, [5, 6, 8], '3rd', 1),
    ]
    stage = pxr.Usd.Stage.Open(str(write_usd(tmp_path / 'clip.usdc', motions, 'camera')))
    for motion, name in zip(motions, ('person_0', '_rd')):
        for frame, points in zip(motion.frame_numbers.tolist(), posed(motion)[0]):
            found, _ = pose_person(pxr, stage, name, frame)
            assert np.abs(found - camera_to_world(points)).max() < 0.05 * MILLIMETRE
    always, sometimes = (
        pxr.UsdGeom.Imageable(stage.GetPrimAtPath(f'/scene/{name}')) for name in ('person_0', '_rd')
    )
    seen = [sometimes.ComputeVisibility(frame) == 'inherited' for frame in range(4, 10)]
    assert seen == [False, True, True, False, True, False]
    assert not always.GetVisibilityAttr().HasAuthoredValue()


def test_the_stage_says_what_it_is(pxr, open_layer, make_motion, tmp_path):
    path = write_usd(tmp_path / 'clip.usda', [make_motion(open_layer, [3, 7])])
    stage = pxr.Usd.Stage.Open(str(path))
    assert pxr.UsdGeom.GetStageUpAxis(stage) == 'Y'
    assert pxr.UsdGeom.GetStageMetersPerUnit(stage) == 1.0
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (3, 7)
    assert stage.GetTimeCodesPerSecond() == 25.0
    assert stage.GetDefaultPrim().GetPath() == '/scene'
    assert 'mmhier open body. Licence: CC0-1.0' in stage.GetRootLayer().comment
    assert 'CC0-1.0' in path.read_text()
    mesh = stage.GetPrimAtPath('/scene/person_0/mesh')
    material, _ = pxr.UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    surface, *_ = material.ComputeSurfaceSource()
    colour = np.array(surface.GetInput('diffuseColor').Get())
    np.testing.assert_allclose(1.055 * colour ** (1 / 2.4) - 0.055, palette(1)[0], atol=1e-3)
    joints = list(pxr.UsdSkel.Skeleton(stage.GetPrimAtPath('/scene/person_0/skeleton')).GetJointsAttr().Get())
    assert joints[:5] == ['pelvis', *(f'pelvis/{n}' for n in ('left_hip', 'right_hip', 'spine1')), joints[4]]
    assert joints[4] == 'pelvis/left_hip/left_knee'
    assert os.listdir(tmp_path) == ['clip.usda']


def test_the_validators_of_usd_find_no_fault(pxr, open_layer, chain_layer, make_motion, tmp_path):
    validation = pytest.importorskip('pxr.UsdValidation', reason='came with usd-core 25')
    motions = [make_motion(open_layer, range(4), 'a'), make_motion(chain_layer, [1, 3], 'b', 1)]
    stage = pxr.Usd.Stage.Open(str(write_usd(tmp_path / 'clip.usdc', motions)))
    validators = validation.ValidationRegistry().GetOrLoadAllValidators()
    assert len(validators) > 5
    errors = validation.ValidationContext(validators).Validate(stage)
    assert [error.GetMessage() for error in errors] == []


def test_other_endings_are_refused(pxr, plain_layer, make_motion, tmp_path):
    with pytest.raises(ValueError, match=r'clip\.fbx: expected a name that ends in \.usd'):
        write_usd(tmp_path / 'clip.fbx', [make_motion(plain_layer, [0])])


def test_without_the_library(plain_layer, make_motion, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pxr', None)
    with pytest.raises(ImportError, match='pip install usd-core'):
        write_usd(tmp_path / 'clip.usd', [make_motion(plain_layer, [0])])


@pytest.mark.parametrize('suffix', ['usda', 'usdc'])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    pxr, small_layer, make_motion, tmp_path, suffix, small_disk
):
    with pytest.raises(OSError, match=r'clip.usd. could not be written') as error, small_disk(500):
        write_usd(tmp_path / f'clip.{suffix}', [make_motion(small_layer, [0, 1])])
    assert '\n' not in str(error.value) and list(tmp_path.iterdir()) == []
