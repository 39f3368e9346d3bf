"""Motions hold every person's parameters, frame by frame."""

import copy

import numpy as np
import pytest

from mmhier.results.motions import MotionRecorder, motions_from_results


def test_motions_are_the_parameters_of_each_person(mesh_results):
    motions = motions_from_results(mesh_results)
    assert [motion.name for motion in motions] == ['person_1', 'person_2']
    for person, motion in enumerate(motions):
        meshes = [result.people[person].mesh for result in mesh_results]
        assert motion.fps == 25 and motion.frame_numbers.tolist() == [0, 1, 2, 3]
        np.testing.assert_array_equal(motion.rotations[:, 0], [mesh.global_orient[0] for mesh in meshes])
        np.testing.assert_array_equal(motion.rotations[:, 1:], [mesh.body_pose for mesh in meshes])
        np.testing.assert_array_equal(motion.transl, [mesh.transl for mesh in meshes])
        np.testing.assert_allclose(motion.betas, np.mean([mesh.betas for mesh in meshes], 0), rtol=1e-6)


def shallow(results):
    changed = [copy.copy(result) for result in results]
    for result in changed:
        result.people = [copy.copy(person) for person in result.people]
    return changed


def test_people_without_number(mesh_results):
    nobody_numbered = shallow(mesh_results)
    for result in nobody_numbered:
        for person in result.people:
            person.track_id = None
    assert [motion.name for motion in motions_from_results(nobody_numbered)] == ['person_0', 'person_1']
    one_numbered = shallow(nobody_numbered)
    for result in one_numbered:
        result.people[1].track_id = 5
    recorder = MotionRecorder()
    for result in one_numbered:
        recorder.add(result)
    assert [motion.name for motion in recorder.motions()] == ['person_5']
    assert recorder.left_out == {'bodies without a track number, in animations': 4}
    picture = motions_from_results(one_numbered[:1])
    assert [motion.name for motion in picture] == ['unnumbered_0', 'person_5']


def test_gaps_and_broken_frames_are_left_out(mesh_results):
    changed = shallow(mesh_results)
    changed[1].people = changed[1].people[:1]
    mesh = changed[2].people[1].mesh = copy.copy(changed[2].people[1].mesh)
    mesh.transl = np.array([0, np.nan, 0], np.float32)
    first, second = motions_from_results(changed)
    assert first.frame_numbers.tolist() == [0, 1, 2, 3]
    assert second.frame_numbers.tolist() == [0, 3]


def test_times_of_a_variable_rate(mesh_results):
    """Of all frames, with or without people; those of a constant rate are not needed, rounded or not."""
    changed = shallow(mesh_results)
    for result, seconds in zip(changed, (0.0, 0.04, 0.3, 0.34)):
        result.time_s = seconds
    changed[1].people = []
    for motion in motions_from_results(changed):
        assert motion.frame_numbers.tolist() == [0, 2, 3]
        np.testing.assert_allclose(motion.times_s, [0.0, 0.04, 0.3, 0.34])
        assert motion.fps == pytest.approx(3 / 0.34)
    changed[1].time_s = 0.0  # stands still
    np.testing.assert_allclose(motions_from_results(changed)[0].times_s, [0.0, 0.001, 0.3, 0.34])
    skipped = [changed[0], *changed[2:]]
    np.testing.assert_allclose(motions_from_results(skipped)[0].times_s, [0.0, 0.15, 0.3, 0.34])
    for result, seconds in zip(changed, (0.0, 0.041, 0.079, 0.12)):
        result.time_s = seconds
    assert motions_from_results(changed)[0].times_s is None
    assert motions_from_results(mesh_results)[0].times_s is None
    changed[0].time_s = None
    assert motions_from_results(changed)[0].times_s is None
    for number, result in enumerate(changed):  # an animated picture does not say its rate
        result.time_s, result.fps = number / 8, None
    assert motions_from_results(changed)[0].fps == 8 and motions_from_results(changed)[0].times_s is None


def test_nobody():
    assert motions_from_results([]) == []
