import pytest

from mmhier.body_models.joint_sets import GROUP_NAMES, JOINT_SETS, SURFACE_VERTICES, joint_set, mirror_name

SIZES = {
    'smpl24': 24, 'openpose25': 25, 'extra19': 19, 'hmr44': 44, 'coco17': 17, 'h36m17': 17, 'lsp14': 14,
    'hmr2_eval14': 14,
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
        assert row in GROUP_NAMES[group]


@pytest.mark.parametrize('name', SIZES)
def test_parents_make_one_tree_that_mirrors_itself(name):
    joints = joint_set(name)
    assert joints.parents.count(-1) == 1
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
    skeleton = GROUP_NAMES['smpl']
    rows = [landmark.partition('.')[2] for landmark in joint_set('openpose25').landmarks]
    joint_map = [24, 12, 17, 19, 21, 16, 18, 20, 0, 2, 5, 8, 1, 4, 7, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34]
    for row, number in zip(rows, joint_map):
        assert row == (skeleton[number] if number < 24 else list(SURFACE_VERTICES)[number - 24])


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
