import numpy as np

from mmhier.datasets.synthetic.scene import sample_scene


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
