"""People from npz files: fields or their absence, the official protocol, refusals, pickled text."""

import io
import zipfile

import numpy as np
import pytest

from mmhier.datasets.mesh import MeshNpzDataset, MocapDataset
from mmhier.datasets.mesh.npz_file import read_npz
from mmhier.datasets.transforms.mesh_loading import UnusableSample
from mmhier.testing.mesh_data import draw_image, encode

PIPELINE = [
    dict(type='MeshBox'),
    dict(type='LoadMeshImage'),
    dict(type='MeshAffine'),
    dict(type='PackMeshInputs'),
]
COUNT = 4


def fields(**changes):
    """A whole file."""
    rng = np.random.default_rng(0)
    made = dict(
        imgname=np.array([f'{number}.jpg' for number in range(COUNT)]),
        center=np.full((COUNT, 2), 60.0),
        scale=np.full((COUNT, 2), (40.0, 80.0)),
        body_pose=rng.normal(size=(COUNT, 72)),
        betas=rng.normal(size=(COUNT, 10)),
        has_body_pose=np.array([1, 1, 0, 1]),
        has_betas=np.ones(COUNT, bool),
        body_keypoints_2d=rng.uniform(0.5, 100, (COUNT, 25, 3)),
        extra_keypoints_2d=rng.uniform(0.5, 100, (COUNT, 19, 3)),
        body_keypoints_3d=np.ones((COUNT, 25, 4)),
        extra_keypoints_3d=np.ones((COUNT, 19, 4)),
    )
    return {name: value for name, value in (made | changes).items() if value is not None}


@pytest.fixture
def open_file(tmp_path):
    """Write a file and its images, open it."""

    def open_with(changes=None, **kwargs):
        for number in range(COUNT):
            image = draw_image(np.random.default_rng(number), (120, 130), [])
            (tmp_path / f'{number}.jpg').write_bytes(encode(image))
        np.savez(tmp_path / 'x.npz', **fields(**(changes or {})))
        return MeshNpzDataset(
            name='x', ann_file='x.npz', img_dir='', data_root=str(tmp_path), pipeline=PIPELINE, **kwargs
        )

    return open_with


def test_fields_reach_the_sample(open_file):
    dataset = open_file(test_mode=True)
    assert len(dataset) == COUNT
    sample = dataset[1]
    data = sample['data_samples']
    labels, instances = data.gt_instance_labels, data.gt_instances
    assert sample['inputs'].shape == (3, 256, 192)
    file = fields()
    np.testing.assert_allclose(labels.body_pose[0].ravel(), file['body_pose'][1, 3:], rtol=1e-6)
    np.testing.assert_allclose(instances.keypoints[0, 25:], file['extra_keypoints_2d'][1, :, :2], rtol=1e-6)
    assert data.box_size == 80.0
    assert data.ori_shape == (120, 130)
    expected = (instances.keypoints[0] - data.box_center) / data.box_size
    np.testing.assert_allclose(labels.keypoints_2d[0, :, :2], expected, atol=1e-5)
    hidden = dataset[2]['data_samples'].gt_instance_labels
    assert (hidden.has_body_pose, hidden.has_global_orient, hidden.has_betas) == (0, 0, 1)
    assert not hidden.body_pose.any()


def test_official_protocol_ignores_openpose_limbs_in_space(open_file):
    confidence = open_file()[0]['data_samples'].gt_instance_labels.keypoints_3d[0, :, 3]
    assert not confidence[1:15].any()
    assert confidence[[0, *range(15, 44)]].all()
    assert (
        open_file(ignore_openpose_3d=False)[0]['data_samples'].gt_instance_labels.keypoints_3d[0, :, 3].all()
    )


def test_missing_fields_are_zeros(open_file):
    optional = ('body_pose', 'betas', 'body_keypoints_3d', 'extra_keypoints_3d', 'body_keypoints_2d')
    labels = open_file(dict.fromkeys(optional))[0]['data_samples'].gt_instance_labels
    assert not any(labels[name].any() for name in ('has_body_pose', 'has_betas', 'betas', 'keypoints_3d'))
    assert not labels.keypoints_2d[0, :25].any()
    assert labels.keypoints_2d[0, 25:].any()


def test_one_number_makes_a_square(open_file):
    sample = open_file(dict(scale=np.full(COUNT, 70.0)))[0]['data_samples']
    assert sample.box_size == pytest.approx(70 * 256 / 192)
    np.testing.assert_array_equal(sample.gt_instances.bbox_scales, [[70, 70]])


@pytest.mark.parametrize('kind', ['object', 'bytes', 'object bytes'])
def test_text_of_all_kinds_is_read_without_unpickling(open_file, kind):
    names = fields()['imgname']
    names = names.astype(object) if kind == 'object' else names.astype('S')
    names = names.astype(object) if kind == 'object bytes' else names
    extra = np.array([{'a': 1}] * COUNT)  # never looked at
    dataset = open_file(dict(imgname=names, extra_info=extra), test_mode=True)
    assert dataset[3]['data_samples'].img_path.endswith('3.jpg')


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(center=None), 'x.npz has no center'),
        (dict(imgname=None, scale=None), 'has no imgname, scale'),
        (dict(body_keypoints_2d=np.ones((COUNT, 24, 3))), r'body_keypoints_2d is \(4, 24, 3\), it should be'),
        (dict(center=np.ones((COUNT + 1, 2))), r'center is \(5, 2\)'),
        (dict(betas=np.array(['a'] * COUNT * 10)), 'betas is not an array of numbers'),
        (dict(betas=np.array([None] * COUNT * 10)), 'betas holds Python objects, which are not read'),
        (dict(imgname=np.arange(COUNT)), 'holds something that is no text'),
        (dict(scale=np.array(3.0)), r'scale is \(\), it should be \(4, 2\)'),
        (dict(imgname=np.array([], str), center=np.zeros((0, 2)), scale=np.zeros(0)), 'x.npz holds nobody'),
    ],
)
def test_malformed_file_is_refused(open_file, changes, message):
    with pytest.raises(ValueError, match=message):
        open_file(changes)


def test_evaluation_leaves_nobody_out(open_file):
    center = fields()['center']
    center[2] = np.nan
    assert len(open_file(dict(center=center))) == COUNT - 1
    with pytest.raises(ValueError, match=r'a number that is not finite.*numbers \[2\]'):
        open_file(dict(center=center), test_mode=True)
    with pytest.raises(ValueError, match='a filter is set'):
        open_file(test_mode=True, person_filter={})
    dataset = open_file(dict(imgname=np.array(['0.jpg', 'gone.jpg', '2.jpg', '3.jpg'])), test_mode=True)
    with pytest.raises(UnusableSample, match='gone.jpg'):
        dataset[1]


def test_backslashes_in_names_are_slashes(open_file):
    names = np.array(['a\\0.jpg', '1.jpg', '2.jpg', '3.jpg'])
    assert open_file(dict(imgname=names)).get_data_info(0)['img_path'].endswith('a/0.jpg')


def test_file_that_is_no_npz(tmp_path):
    (tmp_path / 'x.npz').write_bytes(b'PK nothing')
    with pytest.raises(ValueError, match=r'x\.npz is not a ZIP archive'):
        read_npz(tmp_path / 'x.npz', ['a'])
    with pytest.raises(FileNotFoundError, match='check data_root'):
        MeshNpzDataset('x', 'gone.npz', '', str(tmp_path))


def test_flat_fields_are_taken_row_by_row(open_file):
    flat = {name: value.ravel() for name, value in fields().items() if name.endswith('_2d')}
    assert len(flat) == 2
    usual, same = open_file({}), open_file(flat)
    for number in range(COUNT):
        expected = usual.get_data_info(number)['keypoints_2d']
        np.testing.assert_array_equal(same.get_data_info(number)['keypoints_2d'], expected)


def test_damaged_files_raise_only_errors_that_name_them(tmp_path):
    path = tmp_path / 'x.npz'
    rng = np.random.default_rng(0)
    errors = 0
    for save in (np.savez, np.savez_compressed):
        save(path, imgname=np.array(['a', 'bc'] * 10), center=rng.random((20, 2)))
        whole = path.read_bytes()
        for number in range(300):
            content = bytearray(whole)
            for place in rng.integers(len(content), size=3):
                content[place] = rng.integers(256)
            path.write_bytes(content[: rng.integers(len(content))] if number % 5 == 0 else content)
            try:
                read_npz(path, ['center'], ['imgname'])
            except ValueError as error:
                errors += 1
                assert str(path) in str(error)
    assert errors > 100


def test_field_that_claims_to_be_huge(tmp_path):
    for dtype, field in (('<f8', 'center'), ('<U9', 'imgname')):
        stream = io.BytesIO()
        header = dict(descr=dtype, fortran_order=False, shape=(1 << 50,))
        np.lib.format.write_array_header_1_0(stream, header)
        with zipfile.ZipFile(tmp_path / 'x.npz', 'w') as archive:
            archive.writestr(f'{field}.npy', stream.getvalue())
        with pytest.raises(ValueError, match=rf'x\.npz: {field}: its shape .* does not fit'):
            read_npz(tmp_path / 'x.npz', ['center'], ['imgname'])


def test_malicious_text_is_not_executed(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return print, ('executed',)

    names = np.empty(1, object)
    names[0] = Evil()
    np.savez(tmp_path / 'x.npz', imgname=names)
    with pytest.raises(ValueError, match='Nothing in it was executed'):
        read_npz(tmp_path / 'x.npz', [], ['imgname'])
    assert capsys.readouterr().out == ''


def test_mocap(tmp_path):
    rng = np.random.default_rng(0)
    pose, betas = rng.normal(size=(7, 72)), rng.normal(size=(7, 10))
    np.savez(tmp_path / 'cmu.npz', body_pose=pose, betas=betas)
    dataset = MocapDataset(str(tmp_path / 'cmu.npz'))
    assert len(dataset) == 7
    np.testing.assert_allclose(dataset[3]['body_pose'].ravel(), pose[3, 3:], rtol=1e-6)
    np.testing.assert_allclose(dataset[3]['betas'], betas[3], rtol=1e-6)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(betas=None), 'has no betas'),
        (dict(body_pose=np.ones((7, 69))), r'body_pose is \(7, 69\)'),
        (dict(betas=np.full((7, 10), np.nan)), '7 of 7 bodies hold numbers that are not finite'),
        (dict(body_pose=np.ones((0, 72)), betas=np.ones((0, 10))), r'body_pose is \(0, 72\)'),
        (dict(body_pose=np.array(1.0)), r'body_pose is \(\)'),
    ],
)
def test_malformed_mocap_is_refused(tmp_path, changes, message):
    made = dict(body_pose=np.ones((7, 72)), betas=np.ones((7, 10))) | changes
    np.savez(tmp_path / 'cmu.npz', **{name: value for name, value in made.items() if value is not None})
    with pytest.raises(ValueError, match=message):
        MocapDataset(str(tmp_path / 'cmu.npz'))


def test_iteration_ends(open_file):
    dataset = open_file({})
    with pytest.raises(IndexError, match=f'sample {COUNT} of {COUNT}'):
        dataset[COUNT]
