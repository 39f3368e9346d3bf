import numpy as np

from mmhier.datasets.synthetic.camera import MIN_HEIGHT
from mmhier.datasets.synthetic.scene import SCENE_STYLES, sample_scene
from mmhier.rasterizer import project


def test_people_stand_on_the_floor_inside_the_view(kit):
    count, kinds = 0, set()
    for seed in range(40):
        camera, people, _, distance = sample_scene(np.random.default_rng(seed), kit, (96, 128))
        kinds.add(len(people))
        assert camera.position[1] >= 0.25
        assert distance >= 1.2
        for person in people:
            lowest = person.vertices[:, 1].min()
            assert lowest > -1e-4
            assert lowest < (0.41 if person.pose.legs == 'jump' else 1e-4)
            count += 1
        for i, person in enumerate(people):
            for other in people[:i]:
                assert np.linalg.norm((person.joints[0] - other.joints[0])[[0, 2]]) > 0.6
    assert kinds == {1, 2, 3, 4}
    assert count > 60


def test_the_main_person_is_in_view(kit):
    for seed in range(60):
        camera, people, _, _ = sample_scene(np.random.default_rng(seed), kit, (96, 128))
        hip = project(camera.to_camera(people[0].joints[0]), camera.intrinsics)
        # A camera that cannot go below its lowest height sees low hips near the lower border.
        assert 0 < hip[0] < 128
        assert -10 < hip[1] < (110 if camera.position[1] > MIN_HEIGHT else 200)


def test_simple_scenes_have_one_person_who_faces_the_camera(kit):
    facing = []
    for seed in range(40):
        style = SCENE_STYLES['simple']
        camera, people, _, _ = sample_scene(np.random.default_rng(seed), kit, (96, 128), style)
        assert len(people) == 1
        left_hip, right_hip = camera.to_camera(people[0].joints[1:3])
        facing.append(left_hip[0] > right_hip[0])  # the left side is on the right of the picture
    assert np.mean(facing) > 0.85
