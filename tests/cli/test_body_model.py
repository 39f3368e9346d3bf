import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from mmhier.body_models.joint_sets import H36M17_NAMES, HMR2_EVAL14_NAMES, J19_NAMES, joint_set
from mmhier.body_models.model_directory import installed_path, load_body_data, load_body_model
from mmhier.cli.body_model import add_arguments, run
from mmhier.testing.smplx_file import random_smplx


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(tmp_path / 'models'))
    monkeypatch.chdir(tmp_path)
    return tmp_path / 'models'


def command(*words):
    import argparse

    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


def side_regressor(names, template, seed=0):
    """Rows that lie on the side of the body that their name says."""
    rng = np.random.default_rng(seed)
    matrix = np.zeros((len(names), len(template)))
    for row, name in zip(matrix, names):
        side = name.startswith('left_') * 1 - name.startswith('right_') * 1
        allowed = np.flatnonzero(template[:, 0] * side > 0.1 if side else np.abs(template[:, 0]) < 0.1)
        row[rng.choice(allowed, 5)] = 1.0
    return matrix / matrix.sum(axis=1, keepdims=True)


def test_one_file(smpl_arrays, as_published, pickle_smpl, tmp_path, capsys):
    path = tmp_path / 'basicModel_f_lbs_10_207_0_v1.0.0.pkl'
    path.write_bytes(pickle_smpl(as_published(smpl_arrays)))
    assert command('setup', path) == 0
    told = capsys.readouterr().out
    for part in (
        'SMPL female',
        'version 1.0',
        '6890 vertices',
        '24 joints',
        '10 of 10 shape',
        'smpl_female.npz',
    ):
        assert part in told
    layer = load_body_model('female', joints='openpose25')
    assert layer.name == 'SMPL female 1.0'
    torch.testing.assert_close(layer.v_template, torch.from_numpy(smpl_arrays['v_template']).float())
    whole = load_body_model(path)
    pose = torch.randn(2, 23, 3)
    torch.testing.assert_close(layer(body_pose=pose).vertices, whole(body_pose=pose).vertices, rtol=0, atol=0)


def test_a_download_with_three_genders(smpl_arrays, tmp_path, capsys):
    arrays = smpl_arrays | {'shapedirs': np.ones((6890, 3, 300), np.float32)}
    path = tmp_path / 'SMPL_python_v.1.1.0.zip'
    with zipfile.ZipFile(path, 'w') as archive:
        for number, mark in enumerate(('neutral', 'm', 'f')):
            content = pickle.dumps(arrays | {'v_template': arrays['v_template'] + number}, 2)
            archive.writestr(f'smpl/models/basicmodel_{mark}_lbs_10_207_0_v1.1.0.pkl', content)
        archive.writestr('smpl/models/gmm_08.pkl', pickle.dumps({'means': [1.0]}))
        archive.writestr('smpl/readme.txt', 'text')
    assert command('setup', path) == 0
    told = capsys.readouterr()
    assert told.out.count('version 1.1') == 3 and told.out.count('10 of 300 shape components') == 3
    assert 'left out' in told.err and 'gmm_08.pkl' in told.err
    for number, gender in enumerate(('neutral', 'male', 'female')):
        model = load_body_data(gender)
        assert model.num_betas == 10
        np.testing.assert_allclose(model.v_template, arrays['v_template'] + number, atol=1e-6)
        assert model.metadata['gender'] == gender
    np.save(tmp_path / 'regressor.npy', side_regressor(J19_NAMES, arrays['v_template']))
    assert command('setup', path, tmp_path / 'regressor.npy', '--num-betas', 300) == 0
    assert load_body_data('neutral').num_betas == 300
    (tmp_path / 'text.pkl').write_text('no pickle')
    assert command('setup', path, tmp_path / 'text.pkl') == 1


def test_regressors_complete_the_joint_sets(smpl_arrays, tmp_path, capsys):
    template = smpl_arrays['v_template']
    j19, h36m = side_regressor(J19_NAMES, template), side_regressor(H36M17_NAMES, template, 1)
    (tmp_path / 'SMPL_NEUTRAL.pkl').write_bytes(pickle.dumps(smpl_arrays))
    (tmp_path / 'SMPL_to_J19.pkl').write_bytes(pickle.dumps(j19, 2))
    # The file of SPIN begins with the left leg.
    np.save(tmp_path / 'J_regressor_h36m.npy', h36m[[0, 4, 5, 6, 1, 2, 3, *range(7, 17)]])
    np.save(tmp_path / 'J_regressor_h36m_correct.npy', h36m)
    assert command('setup', *(tmp_path / n for n in ('SMPL_NEUTRAL.pkl', 'SMPL_to_J19.pkl'))) == 0
    with pytest.raises(ValueError, match=r'h36m17 needs.*J_regressor_h36m\.npy'):
        load_body_model('neutral', joints='h36m17')
    body = load_body_model('neutral', joints='hmr44')
    np.testing.assert_allclose(body().joints[0, 25:].numpy(), j19 @ template, atol=1e-5)
    for file in ('J_regressor_h36m.npy', 'J_regressor_h36m_correct.npy'):
        assert command('setup', tmp_path / file) == 0
        found = load_body_model('neutral', joints='h36m17')().joints[0]
        np.testing.assert_allclose(found.numpy(), h36m @ template, atol=1e-5)
    assert command('list') == 0
    told = capsys.readouterr().out
    assert 'hmr2_eval14' in told and 'smpl_regressor_j19.npz' in told


def test_a_regressor_on_the_wrong_side_is_refused(smpl_arrays, tmp_path):
    mirrored = side_regressor(H36M17_NAMES, smpl_arrays['v_template'] * [-1.0, 1.0, 1.0])
    (tmp_path / 'SMPL_MALE.pkl').write_bytes(pickle.dumps(smpl_arrays))
    np.save(tmp_path / 'J_regressor_h36m.npy', mirrored)
    assert command('setup', tmp_path / 'SMPL_MALE.pkl', tmp_path / 'J_regressor_h36m.npy') == 0
    with pytest.raises(ValueError, match=r'smpl_regressor_h36m\.npz: its left joints do not lie on the left'):
        load_body_data('male')


def test_smplx_with_its_parts(tmp_path, capsys):
    arrays = random_smplx(version='1.1')
    arrays['posedirs'][:] = 0.0  # quickly compressed
    np.savez(tmp_path / 'SMPLX_FEMALE.npz', **arrays)
    template = arrays['v_template']
    j14 = side_regressor(HMR2_EVAL14_NAMES, template)
    (tmp_path / 'SMPLX_to_J14.pkl').write_bytes(pickle.dumps(j14))
    hands = {'left_hand': np.arange(778), 'right_hand': np.arange(778) + 800}
    (tmp_path / 'MANO_SMPLX_vertex_ids.pkl').write_bytes(pickle.dumps(hands))
    np.save(tmp_path / 'SMPL-X__FLAME_vertex_ids.npy', np.arange(5023))
    files = (
        'SMPLX_FEMALE.npz',
        'SMPLX_to_J14.pkl',
        'MANO_SMPLX_vertex_ids.pkl',
        'SMPL-X__FLAME_vertex_ids.npy',
    )
    assert command('setup', *(tmp_path / file for file in files), '--num-expressions', 20) == 0
    told = capsys.readouterr().out
    for part in (
        'SMPL-X female, version 1.1, 10475 vertices, 55 joints',
        '10 of 300 shape components, 20 of 100 expression components',
        '778 of the left hand, 778 of the right hand',
        'SMPLX_to_J14',
    ):
        assert part in told
    data = load_body_data('smplx_female')
    assert (data.num_betas, data.num_expressions, data.metadata['gender']) == (10, 20, 'female')
    assert {name: len(part) for name, part in data.parts.items()} == {
        'left_hand': 778, 'right_hand': 778, 'face': 5023
    }  # fmt: skip
    given = dict(jaw_pose=torch.rand(2, 3), expression=torch.rand(2, 20), left_hand_pose=torch.rand(2, 45))
    whole = load_body_model(tmp_path / 'SMPLX_FEMALE.npz', joints='wholebody133')
    installed = load_body_model('smplx_female', joints='wholebody133')
    for ours, theirs in zip(installed(**given), whole(**given), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    found = load_body_model('smplx_female', joints='smplx_j14')().joints[0]
    np.testing.assert_allclose(found.numpy(), j14 @ template, atol=1e-5)
    assert command('list') == 0
    told = capsys.readouterr().out
    assert 'smplx_j14, wholebody133, openpose137' in told and '20 expression components' in told
    with pytest.raises(FileNotFoundError, match=r'SMPL-X male is not installed.*smpl-x\.is\.tue\.mpg\.de'):
        load_body_model('smplx_male')


def test_an_unclear_gender_is_asked_for(smpl_arrays, tmp_path, capsys):
    path = tmp_path / 'body.pkl'
    path.write_bytes(pickle.dumps(smpl_arrays))
    with pytest.raises(ValueError, match='Nothing to install'):
        command('setup', path)
    assert 'add --gender neutral|male|female' in capsys.readouterr().err
    assert command('setup', path, '--gender', 'male') == 0
    assert installed_path('male').is_file()


def test_two_files_of_one_gender_do_not_overwrite_each_other(smpl_arrays, tmp_path, capsys):
    for name, shift in (('SMPL_MALE.pkl', 0.0), ('basicmodel_m.pkl', 1.0)):
        arrays = smpl_arrays | {'v_template': smpl_arrays['v_template'] + shift}
        (tmp_path / name).write_bytes(pickle.dumps(arrays))
    assert command('setup', tmp_path / 'SMPL_MALE.pkl', tmp_path / 'basicmodel_m.pkl') == 1
    assert 'has just been installed from' in capsys.readouterr().err
    np.testing.assert_allclose(load_body_data('male').v_template, smpl_arrays['v_template'], atol=1e-6)


def test_hostile_and_damaged_files_install_nothing(smpl_arrays, folder, tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return os.system, ('touch ran',)

    evil = tmp_path / 'SMPL_MALE.pkl'
    evil.write_bytes(pickle.dumps(smpl_arrays | {'weights': Evil()}))
    cut = tmp_path / 'SMPL_FEMALE.pkl'
    cut.write_bytes(pickle.dumps(smpl_arrays)[:-1000])
    with pytest.raises(ValueError, match='Nothing to install'):
        command('setup', evil, cut)
    told = capsys.readouterr().err
    assert 'system"' in told and 'SMPL_FEMALE.pkl' in told and 'Nothing in it was executed' in told
    assert not (tmp_path / 'ran').exists()
    assert not folder.exists()


def test_a_missing_model_names_the_site_and_the_command(folder):
    with pytest.raises(FileNotFoundError, match=r'https://smpl\.is\.tue\.mpg\.de.*mmhier body-model setup'):
        load_body_model('neutral')
    with pytest.raises(
        ValueError,
        match=r'no body model "nobody": open, open-wholebody, neutral, male, female, smplx_neutral',
    ):
        load_body_model('nobody')
    with pytest.raises(FileNotFoundError, match=r'none\.pkl'):
        load_body_model('none.pkl')


def test_list_says_how_to_get_what_is_missing(capsys):
    assert command('list') == 0
    told = capsys.readouterr().out
    assert told.count('not installed: https://smpl.is.tue.mpg.de') == 3
    assert told.count('not installed: https://smpl-x.is.tue.mpg.de') == 3
    assert 'built when it is first used' in told and 'SMPL_to_J19.pkl' in told


def test_a_damaged_installed_file_is_named(smpl_arrays, folder, tmp_path):
    (tmp_path / 'SMPL_MALE.pkl').write_bytes(pickle.dumps(smpl_arrays))
    command('setup', tmp_path / 'SMPL_MALE.pkl')
    installed_path('j19').write_bytes(b'nothing')
    with pytest.raises(ValueError, match=r'smpl_regressor_j19\.npz is damaged.*body-model setup'):
        load_body_data('male')


def test_any_file_in_the_format_loads_by_its_path(make_body, tmp_path):
    arrays = make_body(40, num_betas=3)
    np.savez(tmp_path / 'a.npz', **arrays)
    (tmp_path / 'a.pkl').write_bytes(pickle.dumps(arrays))
    layer = load_body_model(tmp_path / 'a.npz', num_betas=2)
    torch.testing.assert_close(load_body_model(tmp_path / 'a.pkl')().vertices, layer().vertices)
    assert layer(betas=torch.ones(2, 2)).vertices.shape == (2, 40, 3)
    assert layer.joint_set is joint_set('smpl24')
