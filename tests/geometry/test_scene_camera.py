"""Bodies stand where they stood: scenes with a known camera, recovered from what crops show."""

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from mmhier.geometry.cameras import crop_to_full_translation, full_focal_length, perspective_projection
from mmhier.geometry.scene_camera import (
    FocalChoice,
    fit_translation,
    focal_from_35mm,
    focal_from_fov,
    line_of_sight,
    place_in_scene,
)

IMAGE_HW = (720, 1280)
MIDDLE = np.array([640.0, 360.0])
CROP_FOCAL = 5000 / 256
# People of one photo: pelvis in the camera, metres, and which way they face, degrees.
PEOPLE = {
    (-1.3, 0.5, 3.0): 0, (1.4, 0.4, 4.0): 40, (-0.4, 0.5, 5.0): -70, (2.6, 0.3, 6.5): 180,
    (-3.2, 0.4, 8.0): 20,
}  # fmt: skip


@pytest.fixture(scope='module')
def body(anny):
    from mmhier.body_models.model_directory import load_body_model

    return load_body_model('open', 'hmr44')


def a_crop(pixels):
    low, high = pixels.min(0), pixels.max(0)
    return (low + high) / 2, 1.2 * (high - low).max()


def best_explanation(rest, pixels, center, side, start):
    """Rotation and ``(s, tx, ty)`` with which the crop's camera shows a body most like the picture: what a
    network learns that sees the crop and nothing else."""
    target = (pixels - center) / side

    def errors(x):
        points = rest @ Rotation.from_rotvec(x[:3]).as_matrix().T + [x[4], x[5], 2 * CROP_FOCAL / x[3]]
        return (CROP_FOCAL * points[:, :2] / points[:, 2:] - target).ravel()

    found = least_squares(errors, [*start.as_rotvec(), 1.5, 0, 0], method='lm').x
    return Rotation.from_rotvec(found[:3]).as_matrix(), found[3:]


@pytest.fixture(scope='module')
def group(body):
    """Five people at 3 to 8 m: truth, and the explanation of each crop."""
    rng, focal, found = np.random.default_rng(0), focal_from_fov(IMAGE_HW, 58), []
    for place, turn in PEOPLE.items():
        pose = torch.tensor(rng.normal(0, 0.2, (1, 23, 3)), dtype=torch.float32)
        rest = body(body_pose=pose).joints[0].double().numpy()
        upright = Rotation.from_euler('y', turn, degrees=True) * Rotation.from_euler('x', np.pi)
        true = rest @ upright.as_matrix().T + place
        pixels = focal * true[:, :2] / true[:, 2:] + MIDDLE
        center, side = a_crop(pixels)
        orient, camera = best_explanation(rest, pixels, center, side, upright)
        joints = rest @ orient.T
        depth = 2 * CROP_FOCAL / camera[0]
        shown = CROP_FOCAL * (joints + [*camera[1:], depth])[:, :2] / (joints[:, 2:] + depth)
        found.append(
            dict(
                place=np.array(place), upright=upright.as_matrix(), true=true, joints=joints, orient=orient,
                camera=camera, keypoints=center + side * shown, center=center, side=side,
            )
        )  # fmt: skip
    return focal, found


def stacked(found, name):
    return torch.tensor(np.stack([person[name] for person in found]))


def placed(found, focal):
    count = len(found)
    return place_in_scene(
        stacked(found, 'joints'), torch.zeros(count, 3).double(), stacked(found, 'orient')[:, None],
        stacked(found, 'camera'), stacked(found, 'keypoints'), stacked(found, 'center'),
        stacked(found, 'side'), torch.tensor(MIDDLE * 2).expand(count, 2), torch.full((count,), focal),
    )  # fmt: skip


def degrees_between(first, second):
    return np.degrees(Rotation.from_matrix(first.swapaxes(-1, -2) @ second).magnitude())


def test_people_of_one_photo_stand_where_they_stood(group):
    """With the true focal length: depth within 2.5 %, across within 6 cm, turned by less than 9 degrees."""
    focal, found = group
    result, truth = placed(found, focal), stacked(found, 'place')
    assert (result.transl[:, 2] / truth[:, 2] - 1).abs().max() < 0.025
    assert (result.transl - truth)[:, :2].abs().max() < 0.06
    upright = np.stack([person['upright'] for person in found])
    crops = degrees_between(np.stack([person['orient'] for person in found]), upright)
    turned = degrees_between(result.global_orient[:, 0].numpy(), upright)
    assert (
        turned.max() < 9 and crops.max() > 25
    )  # as the crop's camera sees them they are turned by its place
    official = crop_to_full_translation(
        stacked(found, 'camera'), stacked(found, 'center'), stacked(found, 'side'),
        torch.tensor(MIDDLE * 2).expand(5, 2), full_focal_length(torch.tensor(MIDDLE * 2)),
    )  # fmt: skip
    assert official[:, 2].min() > 50


@pytest.mark.parametrize('fov', [40, 55, 70])
def test_distances_compare_whatever_the_field_of_view(group, fov):
    """An assumed focal length that is off makes everybody nearer or farther by one factor, within 5 %."""
    result = placed(group[1], focal_from_fov(IMAGE_HW, fov))
    ratios = result.transl[:, 2] / stacked(group[1], 'place')[:, 2]
    assert ratios.max() / ratios.min() < 1.05
    assert ratios.mean() == pytest.approx(focal_from_fov(IMAGE_HW, fov) / group[0], rel=0.06)


def test_the_picture_is_kept(group):
    """Joints are seen where the crop shows them: 1.5 % of the crop's side on average, 6 % at most.

    They are nearer still to where they are: what differs is perspective that the crop's camera does not have.
    """
    focal, found = group
    result, side = placed(found, focal), stacked(found, 'side')[:, None]
    seen = perspective_projection(result.joints, result.transl, focal) + torch.tensor(MIDDLE)
    moved = (seen - stacked(found, 'keypoints')).norm(dim=-1) / side
    assert moved.mean(1).max() < 0.015 and moved.max() < 0.06
    true = perspective_projection(stacked(found, 'true'), None, focal) + torch.tensor(MIDDLE)
    wrong = (seen - true).norm(dim=-1) / side
    assert wrong.mean(1).max() < 0.008 and wrong.max() < 0.03
    # Without the turn of the line of sight people far from the middle do not fit any more.
    plain = crop_to_full_translation(
        stacked(found, 'camera'), stacked(found, 'center'), stacked(found, 'side'),
        torch.tensor(MIDDLE * 2).expand(5, 2), focal,
    )  # fmt: skip
    seen = perspective_projection(stacked(found, 'joints'), plain, focal) + torch.tensor(MIDDLE)
    assert ((seen - stacked(found, 'keypoints')).norm(dim=-1) / side).mean(1).max() > 0.03


def test_far_cameras_are_the_official_formula(group):
    found = group[1]
    result = placed(found, 1e7)
    plain = crop_to_full_translation(
        stacked(found, 'camera'), stacked(found, 'center'), stacked(found, 'side'),
        torch.tensor(MIDDLE * 2).expand(5, 2), 1e7,
    )  # fmt: skip
    # The crop's own camera is not infinitely far: its perspective is 1 % of the depth.
    torch.testing.assert_close(result.transl, plain, rtol=0.01, atol=0.01)
    torch.testing.assert_close(result.joints, stacked(found, 'joints'), rtol=0, atol=2e-4)


def test_convention_line_of_sight():
    """The axis meets the direction, right and down; plumb lines stay plumb in the crop; a turn, no mirror."""
    directions = torch.tensor([[0.5, 0.2], [-0.3, 0.4], [0.0, 0.0], [0.7, -0.6]], dtype=torch.float64)
    turn = line_of_sight(directions)
    axis = turn[:, :, 2]
    torch.testing.assert_close(axis[:, :2] / axis[:, 2:], directions)
    torch.testing.assert_close(turn[2], torch.eye(3).double())
    torch.testing.assert_close(torch.linalg.det(turn), torch.ones(4).double())
    assert turn[:, 1, 0].abs().max() == 0  # the vertical has no part to the right in the turned camera
    torch.testing.assert_close(turn @ turn.mT, torch.eye(3).double().expand(4, 3, 3))


def test_the_best_translation_is_found():
    rng = torch.Generator().manual_seed(0)
    points = 0.4 * torch.randn(6, 30, 3, generator=rng, dtype=torch.float64)
    truth = torch.tensor([0.5, -0.2, 3.0]) + torch.randn(6, 3, generator=rng, dtype=torch.float64) * 0.3
    seen = perspective_projection(points, truth, 1.0)
    torch.testing.assert_close(fit_translation(points, seen, torch.full((6,), 20.0).double()), truth)
    both = fit_translation(points[:1], seen[:1], torch.ones(1).double())
    torch.testing.assert_close(both[0], truth[0])


def test_nobody_comes_behind_the_camera():
    """A face that fills the picture and more, a single point, and numbers that are none."""
    points = torch.tensor([[[0.0, 0, -0.5], [0.1, 0, 0.5], [0, 0.1, 0.2]]]).double()
    found = fit_translation(points, 50 * points[..., :2], torch.tensor([0.02]).double())
    assert (points + found[:, None])[..., 2].min() >= 0.1 - 1e-9 and found.isfinite().all()
    single = fit_translation(points[:, :1], points[:, :1, :2], torch.tensor([4.0]).double())
    torch.testing.assert_close(single, torch.tensor([[0.0, 0, 4]]).double())
    broken = fit_translation(points * float('nan'), points[..., :2], torch.tensor([4.0]).double())
    assert broken.isnan().all()


def test_focal_lengths_by_hand():
    assert focal_from_fov((720, 1280), 90) == pytest.approx(640)
    assert focal_from_fov((1280, 720), 90) == pytest.approx(640)  # the camera turned
    assert focal_from_35mm((2400, 3600), 50) == pytest.approx(5000)  # 36 mm of film are 3600 pixels
    hw = (720, 1280)
    assert FocalChoice().of(hw) == (pytest.approx(1280 / 2 / np.tan(np.radians(27.5))), 'assumed')
    assert FocalChoice().of(hw, 26.0) == (focal_from_35mm(hw, 26), 'exif')
    assert FocalChoice(fov=90).of(hw, 26.0) == (pytest.approx(640), 'given')
    assert FocalChoice(focal=1000).of(hw, 26.0) == (1000, 'given')
    assert FocalChoice(focal='official').of(hw, 26.0) == (25000, 'official')


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(fov=55, focal=1000), 'the same twice'),
        (dict(fov=0), 'expected 1 to 170 degrees'),
        (dict(fov=float('nan')), 'expected 1 to 170 degrees'),
        (dict(focal=-3), 'expected pixels above 0'),
        (dict(focal=float('inf')), 'expected pixels above 0'),
        (dict(focal='wide'), "focal='wide'"),
    ],
)
def test_wrong_choices(wrong, message):
    with pytest.raises(ValueError, match=message):
        FocalChoice(**wrong)
