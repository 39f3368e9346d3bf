"""The hook in real validation and test loops, with a model that returns what each image's name says."""

import logging
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, pseudo_collate
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample
from PIL import Image

from mmhier.testing.mesh_samples import random_mesh_samples
from mmhier.visualization.mesh_hook import MeshVisualizationHook
from mmhier.visualization.mesh_renderer import mesh_panel

# A pyramid with its tip towards the camera.
VERTICES = np.array(
    [[-0.5, -0.5, 0], [0.5, -0.5, 0], [0.5, 0.5, 0], [-0.5, 0.5, 0], [0, 0, -0.5]], np.float32
)
FACES = torch.tensor([[0, 4, 1], [1, 4, 2], [2, 4, 3], [3, 4, 0], [0, 1, 2], [0, 2, 3]]).flip(1)
FOCAL = 60.0
# One row per person: file and where they stand.
PEOPLE = [
    ('a.png', (0.0, 0.0, 4.0)),
    ('a.png', (0.6, 0.0, 6.0)),
    ('a.png', (-0.8, 0.0, 5.0)),
    ('b.jpg', (0.2, 0.1, 4.0)),
    ('other/a.png', (0.0, 0.3, 3.0)),
]


class People(BaseDataset):
    def __init__(self, folder, people):
        self.people = [(str(folder / name), place) for name, place in people]
        super().__init__(serialize_data=False)

    def load_data_list(self):
        return [dict(img_path=path, place=place) for path, place in self.people]


class Knowing(BaseModel):
    """Predicts the pyramid at the given place."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def body(self):
        return SimpleNamespace(faces=FACES)

    def forward(self, img_path, place, mode='tensor', **_):
        if mode == 'loss':
            return dict(loss=self.weight.sum())
        samples = []
        for path, spot in zip(img_path, np.stack(place, axis=1).astype(np.float32), strict=True):
            sample = PoseDataSample(metainfo=dict(img_path=path, ori_shape=(48, 64)))
            sample.pred_instances = InstanceData(
                vertices=VERTICES[None], transl=spot[None], focal_length=np.array([FOCAL], np.float32)
            )
            samples.append(sample)
        return samples


class Counting(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(count=len(results))


@pytest.fixture
def folder(tmp_path):
    images = tmp_path / 'images'
    rng = np.random.default_rng(0)
    for name in {name for name, _ in PEOPLE}:
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        coarse = rng.integers(0, 256, (3, 4, 3), dtype=np.uint8)  # what is smooth survives JPEG
        cv2.imwrite(str(images / name), cv2.resize(coarse, (64, 48), interpolation=cv2.INTER_CUBIC))
    return images


def make_runner(folder, tmp_path, people=PEOPLE, batch_size=2, model=None, **options):
    def loader():
        data = dict(dataset=People(folder, people), batch_size=batch_size, num_workers=0)
        return dict(**data, sampler=dict(type='DefaultSampler', shuffle=False))

    hook = MeshVisualizationHook(**{'enable': True, 'interval': 1, **options})
    return Runner(
        model=model or Knowing(),
        work_dir=str(tmp_path / 'work'),
        train_dataloader=loader(),
        val_dataloader=loader(),
        test_dataloader=loader(),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        val_cfg=dict(),
        test_cfg=dict(),
        val_evaluator=[Counting()],
        test_evaluator=[Counting()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        visualizer=dict(type='Visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_hooks=dict(checkpoint=None),
        custom_hooks=[hook],
        default_scope='mmpose',
        experiment_name=str(tmp_path),
        log_level='WARNING',
    )


def expected(path, places):
    people = np.stack([VERTICES + np.float32(place) for place in places])
    return mesh_panel(cv2.imread(str(path)), people, FACES.numpy(), FOCAL, (32.5, 24.5), alpha=0.9)


def close(path, picture):
    """Equal but for JPEG's losses."""
    return np.abs(cv2.imread(str(path)).astype(int) - picture).mean() < 6


def test_members_of_a_shard_get_a_proper_file_name(folder, tmp_path):
    people = [('train/0001.tar:7.jpg', (0.0, 0.0, 4.0))]
    make_runner(folder, tmp_path, people, out_dir=str(tmp_path / 'pictures')).test()
    assert [path.name for path in (tmp_path / 'pictures').iterdir()] == ['0001.tar_7.jpg']


@pytest.mark.parametrize('batch_size', [1, 2, 5])
def test_all_people_of_an_image_are_in_one_picture(folder, tmp_path, batch_size):
    """Wherever a batch ends; images of the same name stay apart."""
    runner = make_runner(folder, tmp_path, batch_size=batch_size, out_dir='pictures')
    assert runner.test() == dict(count=5)
    out = Path(runner.work_dir, runner.timestamp, 'pictures')
    assert sorted(path.name for path in out.iterdir()) == ['a.jpg', 'a_1.jpg', 'b.jpg']
    a = expected(folder / 'a.png', [place for name, place in PEOPLE if name == 'a.png'])
    assert close(out / 'a.jpg', a)
    assert not close(out / 'a.jpg', expected(folder / 'a.png', [PEOPLE[0][1]]))
    assert close(out / 'b.jpg', expected(folder / 'b.jpg', [PEOPLE[3][1]]))
    assert close(out / 'a_1.jpg', expected(folder / 'other' / 'a.png', [PEOPLE[4][1]]))


def test_a_second_test_draws_the_same_again(folder, tmp_path):
    runner = make_runner(folder, tmp_path, out_dir=str(tmp_path / 'pictures'))
    runner.test()
    for path in (tmp_path / 'pictures').iterdir():
        path.unlink()
    runner.test()
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) == ['a.jpg', 'a_1.jpg', 'b.jpg']


def test_every_nth_batch(folder, tmp_path):
    people = [(name, (0.0, 0.0, 4.0)) for name in ('b.jpg', 'a.png', 'b.jpg', 'other/a.png')]
    runner = make_runner(folder, tmp_path, people, 1, out_dir=str(tmp_path / 'pictures'), interval=2)
    runner.test()
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) == ['b.jpg', 'b_1.jpg']


def test_validation_during_training_draws_the_same_images_each_time(folder, tmp_path):
    runner = make_runner(folder, tmp_path)
    runner.train()
    pictures = sorted(path.name for path in Path(runner.work_dir).rglob('*.png'))
    # Two epochs of three iterations each; batches begin with image a, a and the other a.
    assert pictures == [f'val_mesh_{batch}_{step}.png' for batch in (0, 1, 2) for step in (3, 6)]
    drawn = next(iter(Path(runner.work_dir).rglob('val_mesh_0_6.png')))
    np.testing.assert_array_equal(
        cv2.imread(str(drawn)), expected(folder / 'a.png', [p for _, p in PEOPLE[:2]])
    )


def test_validation_into_a_folder(folder, tmp_path):
    runner = make_runner(folder, tmp_path, out_dir=str(tmp_path / 'pictures'), interval=3)
    runner.train()
    names = sorted(path.name for path in (tmp_path / 'pictures').iterdir())
    assert names == ['a_iter_3.jpg', 'a_iter_6.jpg']


def test_nothing_is_drawn_unless_enabled(folder, tmp_path):
    runner = make_runner(folder, tmp_path, enable=False, out_dir=str(tmp_path / 'pictures'))
    runner.train()
    runner.test()
    assert not (tmp_path / 'pictures').exists()
    assert not list(Path(runner.work_dir).rglob('*mesh*'))


def test_meshes_that_are_not_finite_are_named_and_left_out(folder, tmp_path, capsys):
    people = [PEOPLE[0], ('a.png', (np.nan, 0.0, 4.0)), ('b.jpg', (0.0, np.inf, 4.0))]
    runner = make_runner(folder, tmp_path, people, out_dir=str(tmp_path / 'pictures'))
    runner.test()
    log = capsys.readouterr().out
    assert '1 of 2 predicted meshes are not finite' in log and 'b.jpg' in log
    assert close(tmp_path / 'pictures' / 'a.jpg', expected(folder / 'a.png', [PEOPLE[0][1]]))
    image, overlay, side = np.split(cv2.imread(str(tmp_path / 'pictures' / 'b.jpg')).astype(int), 3, axis=1)
    assert np.abs(image - overlay)[:, 8:-8].mean() < 6 and side[:, 8:].min() > 240


def test_images_that_are_no_files_are_white(folder, tmp_path, capsys):
    runner = make_runner(
        folder, tmp_path, [('gone.png', (0.0, 0.0, 4.0))], out_dir=str(tmp_path / 'pictures')
    )
    runner.test()
    assert 'there is no file' in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / 'pictures' / 'gone.jpg'))
    assert picture.shape == (48, 192, 3)
    assert picture[:, :48].min() > 240 and picture[24, 96].min() < 230


def test_orientation_tags_are_ignored(folder, tmp_path):
    """As by the pipeline that the predictions come from."""
    runner = make_runner(folder, tmp_path, [PEOPLE[3]], out_dir=str(tmp_path / 'pictures'))
    picture = expected(folder / 'b.jpg', [PEOPLE[3][1]])
    tag = Image.Exif()
    tag[274] = 6  # to be shown turned by 90 degrees
    Image.open(folder / 'b.jpg').save(folder / 'b.jpg', exif=tag, quality=95)
    assert cv2.imread(str(folder / 'b.jpg')).shape == (64, 48, 3)
    runner.test()
    assert close(tmp_path / 'pictures' / 'b.jpg', picture)


def test_large_images_are_drawn_smaller(folder, tmp_path):
    runner = make_runner(folder, tmp_path, [PEOPLE[3]], out_dir=str(tmp_path / 'pictures'), max_size=32)
    runner.test()
    picture = cv2.imread(str(tmp_path / 'pictures' / 'b.jpg'))
    assert picture.shape == (24, 96, 3)
    small = cv2.resize(
        expected(folder / 'b.jpg', [PEOPLE[3][1]])[:, :128], (64, 24), interpolation=cv2.INTER_AREA
    )
    assert np.abs(picture[:, :64].astype(int) - small).mean() < 8


def test_predictions_of_the_estimator_appear_under_its_keypoints(body_folder, tmp_path, monkeypatch):
    """Mesh and keypoints go through different cameras; in the picture they meet."""
    monkeypatch.setenv('MMHIER_BODY_MODELS', str(body_folder))
    init_default_scope('mmpose')
    arch = dict(embed_dims=8, depths=[1, 1], num_heads=[1, 2], window_size=4)
    decoder = dict(embed_dims=16, num_layers=1, num_heads=2, head_dims=8, feedforward_channels=16)
    model = MODELS.build(
        dict(
            type='TopdownMeshEstimator',
            data_preprocessor=dict(type='PoseDataPreprocessor'),
            backbone=dict(type='TruncatedSwin', arch=arch, num_stages=2),
            neck=dict(type='ResolutionNeck', in_channels=16, in_stride=8, out_channels=16),
            head=dict(type='HMR2Head', in_channels=16, arch=decoder),
        )
    ).eval()
    with torch.no_grad():
        outputs = model.test_step(pseudo_collate(random_mesh_samples(6)))
    runner = SimpleNamespace(
        model=model, logger=logging.getLogger(), world_size=1, work_dir=tmp_path, timestamp=''
    )
    hook = MeshVisualizationHook(enable=True, interval=1, out_dir='pictures')
    hook.after_test_iter(runner, 0, None, outputs)
    hook.after_test_epoch(runner)
    compared = 0
    for sample in outputs:
        picture = cv2.imread(str(tmp_path / 'pictures' / f'{sample.sample_key}.jpg'))
        height, width = sample.ori_shape
        column, row = np.round(sample.pred_instances.keypoints[0]).astype(int).T
        seen = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        overlay = picture[:, width : 2 * width]
        assert (overlay[row[seen], column[seen]].min(axis=1) < 240).all()
        compared += seen.sum()
    assert compared > 30


def test_windows(folder, tmp_path, monkeypatch):
    runner = make_runner(folder, tmp_path, show=True, wait_time=0.5)
    shown = []
    monkeypatch.setattr(
        runner.visualizer, 'show', lambda image, **options: shown.append((image.shape, options))
    )
    runner.test()
    names = ['a.png', 'b.jpg', 'a.png']
    assert shown == [((48, 192, 3), dict(win_name=name, wait_time=0.5)) for name in names]


def test_models_without_a_body_are_refused(folder, tmp_path):
    class Pose(Knowing):
        body = property()

    with pytest.raises(TypeError, match='Pose has no body model'):
        make_runner(folder, tmp_path, model=Pose()).test()


def test_interval_is_checked():
    with pytest.raises(ValueError, match='interval=0'):
        MeshVisualizationHook(interval=0)


def test_options_of_the_command_line_fit():
    """Those that --show-dir sets, see mmhier.cli.train."""
    hook = MeshVisualizationHook(enable=True, show=False, wait_time=0, out_dir='pictures', interval=1)
    assert hook.enable and hook.out_dir == 'pictures'
