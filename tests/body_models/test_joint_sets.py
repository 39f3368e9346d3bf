import pytest

from mmhier.body_models.joint_sets import (
    GROUP_NAMES,
    JOINT_SETS,
    SMPLX_SURFACE_VERTICES,
    SURFACE_NAMES,
    SURFACE_VERTICES,
    joint_set,
    mirror_name,
)
from mmhier.body_models.smpl_file import JOINT_NAMES, SMPLX_JOINT_NAMES, SMPLX_PARENTS

SIZES = {
    'smpl24': 24, 'openpose25': 25, 'extra19': 19, 'hmr44': 44, 'coco17': 17, 'h36m17': 17, 'lsp14': 14,
    'hmr2_eval14': 14, 'smplx55': 55, 'smplx144': 144, 'smplx137': 137, 'smplx65': 65, 'smplx53': 53,
    'smplx25': 25, 'hands40': 40, 'face72': 72, 'smplx_j14': 14, 'wholebody133': 133, 'openpose137': 137,
}  # fmt: skip
# The permutations of 4D-Humans.
OPENPOSE_FLIP = (0, 1, 5, 6, 7, 2, 3, 4, 8, 12, 13, 14, 9, 10, 11, 16, 15, 18, 17, 22, 23, 24, 19, 20, 21)
EXTRA_FLIP = (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 15, 16, 17, 18)


def test_every_set_is_there():
    assert {name: len(entry) for name, entry in JOINT_SETS.items()} == SIZES


@pytest.mark.parametrize('name', SIZES)
def test_a_set_is_consistent(name):
    joints = joint_set(name)
    assert len(set(joints.names)) == len(joints.landmarks) == len(joints.parents) == len(joints)
    assert [joints.flip[k] for k in joints.flip] == list(range(len(joints)))
    for joint, mirror in zip(joints.names, joints.flip):
        assert (joint == joints.names[mirror]) == (not joint.startswith(('left_', 'right_')))
    for landmark in joints.landmarks:
        group, _, row = landmark.partition('.')
        names = JOINT_NAMES + SMPLX_JOINT_NAMES if group == 'skeleton' else GROUP_NAMES[group]
        assert row in names


@pytest.mark.parametrize('name', SIZES)
def test_parents_make_one_tree_that_mirrors_itself(name):
    joints = joint_set(name)
    assert joints.parents.count(-1) == (10 if name == 'hands40' else 1)  # fingers without a wrist
    for joint in range(len(joints)):
        steps, at = 0, joint
        while at != -1:
            at, steps = joints.parents[at], steps + 1
            assert steps <= len(joints)
        parent, mirrored = joints.parents[joint], joints.parents[joints.flip[joint]]
        assert mirrored == (-1 if parent == -1 else joints.flip[parent])


def test_convention_orders_of_hmr2():
    assert joint_set('openpose25').flip == OPENPOSE_FLIP
    assert joint_set('extra19').flip == EXTRA_FLIP
    both = joint_set('hmr44')
    assert both.flip == OPENPOSE_FLIP + tuple(25 + k for k in EXTRA_FLIP)
    assert both.index('pelvis_mpii') == 39
    assert both.index('left_ankle') == 14 and both.index('left_ankle_lsp') == 30
    wanted = [*range(25, 38), 43]
    assert [both.landmarks[k] for k in wanted] == list(joint_set('hmr2_eval14').landmarks)
    skeleton = JOINT_NAMES
    rows = [landmark.partition('.')[2] for landmark in joint_set('openpose25').landmarks]
    joint_map = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34]
    for row, number in zip(rows, joint_map):
        assert row == (skeleton[number] if number < 24 else list(SURFACE_VERTICES)[number - 24])


def test_convention_skeleton_of_smplx():
    assert SMPLX_JOINT_NAMES[20:28] == (
        'left_wrist', 'right_wrist', 'jaw', 'left_eyeball', 'right_eyeball', 'left_index1', 'left_index2',
        'left_index3',
    )  # fmt: skip
    assert SMPLX_JOINT_NAMES[37] == 'left_thumb1' and SMPLX_JOINT_NAMES[40] == 'right_index1'
    assert SMPLX_PARENTS[22:] == (
        15, 15, 15, 20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
        21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53,
    )  # fmt: skip


def test_convention_orders_of_smplerx():
    """Its joints by their numbers among the 144 of smplx; its pairs for mirroring are those of the names."""
    every, theirs = joint_set('smplx144'), joint_set('smplx137')
    assert tuple(SMPLX_SURFACE_VERTICES) == SURFACE_NAMES
    numbers = [
        *(0, 1, 2, 4, 5, 7, 8, 12, 16, 17, 18, 19, 20, 21, 60, 61, 62, 63, 64, 65, 59, 58, 57, 56, 55),
        *(37, 38, 39, 66, 25, 26, 27, 67, 28, 29, 30, 68, 34, 35, 36, 69, 31, 32, 33, 70),
        *(52, 53, 54, 71, 40, 41, 42, 72, 43, 44, 45, 73, 49, 50, 51, 74, 46, 47, 48, 75),
        *(22, 15, 57, 56, *range(76, 144)),
    ]
    assert [every.landmarks[number] for number in numbers] == list(theirs.landmarks)
    assert joint_set('smplx65').landmarks == theirs.landmarks[:65]
    assert joint_set('smplx25').landmarks == theirs.landmarks[:25]
    assert joint_set('hands40').landmarks == theirs.landmarks[25:65]
    assert joint_set('face72').landmarks == theirs.landmarks[65:]
    rows = joint_set('smplx53').names
    assert rows[:22] == SMPLX_JOINT_NAMES[:22] and rows[22:52] == SMPLX_JOINT_NAMES[25:]
    assert rows[52] == 'jaw' and joint_set('smplx53').flip[22] == 37


def test_convention_orders_of_keypoints_with_a_face():
    """The mirror images of iBUG's 68 points are known by their numbers."""
    pairs = [(k, 16 - k) for k in range(8)] + [(17 + k, 26 - k) for k in range(5)]
    pairs += [(31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]
    pairs += [(48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67)]
    mirrored = dict(pairs + [pair[::-1] for pair in pairs])
    for name, start, hands in (('wholebody133', 23, 91), ('openpose137', 67, 25)):
        flip = joint_set(name).flip
        assert [flip[start + k] - start for k in range(68)] == [mirrored.get(k, k) for k in range(68)]
        assert [flip[hands + k] for k in range(42)] == [
            *range(hands + 21, hands + 42),
            *range(hands, hands + 21),
        ]
    coco, openpose = joint_set('wholebody133'), joint_set('openpose137')
    assert coco.names[:17] == joint_set('coco17').names and coco.names[17:20] == (
        'left_big_toe', 'left_small_toe', 'left_heel',
    )  # fmt: skip
    assert coco.names[91:96] == ('left_hand_root', 'left_thumb1', 'left_thumb2', 'left_thumb3', 'left_thumb4')
    assert openpose.names[:25] == joint_set('openpose25').names
    assert openpose.names[135:] == ('right_pupil', 'left_pupil')


def test_joints_are_found_by_name():
    joints = joint_set('coco17')
    assert joints.indices(['right_ankle', 'nose']) == [16, 0]
    with pytest.raises(ValueError, match=r'coco17 has no joint "tail".*nose'):
        joints.index('tail')
    with pytest.raises(ValueError, match=r'no joint set "coco18".*coco17'):
        joint_set('coco18')


def test_mirror_names():
    assert mirror_name('left_knee_lsp') == 'right_knee_lsp'
    assert mirror_name('right_eye') == 'left_eye'
    assert mirror_name('neck') == 'neck'
