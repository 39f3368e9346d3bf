"""Stand-ins for what the pages' commands need and a reader has, downloads or gets under a licence.

Each is a function of the folder in which commands are typed, and writes under the names that the pages use.
"""

import json
import os
import pickle
import runpy
import shutil
import zipfile
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / 'tests'
RINGS, AROUND = 106, 65  # 6,890 vertices
SMPL_FACES = 13776


@pytest.fixture(scope='session')
def stand_ins(tmp_path_factory, anny):
    """The maker of stand-ins; what is large is made once and linked."""
    store = tmp_path_factory.mktemp('stand_ins')
    yield StandIns(store)
    shutil.rmtree(store)


class StandIns:
    """Stand-ins by name: ``make(name, folder)``."""

    def __init__(self, store: Path):
        self.store = store

    def make(self, name: str, folder: Path) -> None:
        getattr(self, name)(folder)

    # --- pictures, boxes, a detector -------------------------------------------------------------------

    @cached_property
    def _people(self) -> Path:
        """Six pictures of one synthetic person each."""
        from mmhier.datasets.synthetic.generator import generate

        folder = self.store / 'people'
        generate(folder, 0, 6, seed=3, scenes='simple', workers=1, progress=False)
        return folder

    def _boxes(self) -> list[list[float]]:
        coco = json.loads((self._people / 'annotations/person_keypoints_val.json').read_text())
        boxes = {annotation['image_id']: annotation['bbox'] for annotation in coco['annotations']}
        ordered = [boxes[image['id']] for image in coco['images']]
        return [[x, y, x + width, y + height] for x, y, width, height in ordered]

    def pictures(self, folder: Path) -> None:
        """``photo.jpg``; the same people in three folders, with the boxes ``people.json``."""
        images = self._people / 'images/val'
        for name in ('people', 'photos', 'photos_of_people'):
            shutil.copytree(images, folder / name)
        shutil.copy(min(images.iterdir()), folder / 'photo.jpg')
        shutil.copy(self._people / 'annotations/person_keypoints_val.json', folder / 'people.json')

    def clip(self, folder: Path) -> None:
        """``clip.mp4`` with the boxes ``boxes.json``; also what camera 0 sees."""
        from mmhier.media import VideoWriter

        with VideoWriter(folder / 'clip.mp4', fps=10) as writer:
            for path in sorted((self._people / 'images/val').iterdir()):
                writer.write(cv2.imread(str(path)))
        boxes = {str(number): [box] for number, box in enumerate(self._boxes())}
        (folder / 'boxes.json').write_text(json.dumps(boxes))

    def camera(self, folder: Path) -> None:
        """Camera 0 sees ``clip.mp4``; windows are not shown."""
        place = folder / 'stand_in_camera'
        place.mkdir()
        (place / 'sitecustomize.py').write_text(
            'import cv2\n'
            'of_file = cv2.VideoCapture\n'
            "cv2.VideoCapture = lambda source: of_file('clip.mp4' if source == 0 else source)\n"
            'cv2.namedWindow = cv2.imshow = lambda *arguments: None\n'
            'cv2.waitKey = lambda milliseconds: -1\n'
        )

    def detector(self, folder: Path) -> None:
        """``yolox.onnx``, which finds the same two boxes everywhere."""
        pytest.importorskip('onnx')
        pytest.importorskip('onnxruntime')
        made = runpy.run_path(str(TESTS / 'detection' / 'test_onnx_detector.py'))
        made['save'](folder / 'yolox.onnx', {'output': made['grid_output'](made['GRID'])})

    # --- checkpoints -----------------------------------------------------------------------------------

    def _weights(self, name: str) -> Path:
        """Checkpoint of a config, with random weights and heatmaps that have peaks."""
        from mmengine.config import Config
        from mmengine.registry import init_default_scope
        from mmpose.registry import MODELS

        from mmhier.zoo.names import resolve_config

        path = self.store / f'{name}.pth'
        if path.is_file():
            return path
        init_default_scope('mmpose')
        torch.manual_seed(0)
        settings = Config.fromfile(resolve_config(name)).model
        settings.backbone.init_cfg = None
        settings.pop('body_model', None)  # no checkpoint holds a part of it
        model = MODELS.build(settings)
        if 'HeatmapHead' in str(settings.head.type):
            torch.nn.init.normal_(model.head.final_layer.weight)
        torch.save(dict(state_dict=model.state_dict(), meta={}), path)
        return path

    def pose_weights(self, folder: Path) -> None:
        """SwinPose-S-S3 under every name that the pages give it."""
        for name in (
            'FILE.pth',
            'CHECKPOINT',
            'CHECKPOINT.pth',
            'swinpose_s_s3.pth',
            'pretrained/swinpose_s_s3_coco.pth',
        ):
            link(self._weights('swinpose_s_s3'), folder / name)

    def stock_weights(self, folder: Path) -> None:
        """A stock model of MMPose, and its encoder where PyTorch keeps downloads."""
        from mmengine.config import Config

        from mmhier.engine.initial_weights import checkpoint_address
        from mmhier.zoo.names import resolve_config

        name = 'mmpose::td-hm_mobilenetv2_8xb64-210e_coco-256x192'
        address = checkpoint_address(Config.fromfile(resolve_config(name)).model.backbone.init_cfg.checkpoint)
        state = torch.load(self._weights(name), weights_only=True)['state_dict']
        for key, value in state.items():
            if value.ndim == 4 and 'final_layer' not in key:
                torch.nn.init.kaiming_normal_(value)  # as they are, 50 layers leave next to nothing
        weights = self.store / 'stock.pth'
        torch.save(dict(state_dict=state, meta={}), weights)
        for place in ('FILE.pth', f'torch_home/hub/checkpoints/{address.rpartition("/")[2]}'):
            link(weights, folder / place)

    def default_weights(self, folder: Path) -> None:
        """Of the model that is taken where none is named, which would be fetched."""
        link(self._weights('vitpose_s'), folder / 'pretrained/vitpose_s_coco.pth')

    def mesh_weights(self, folder: Path) -> None:
        """SwinHMR2-S-S3 under every name that the pages give it."""
        for name in (
            'FILE.pth',
            'CHECKPOINT',
            'CHECKPOINT.pth',
            'mesh.pth',
            'pretrained/swinhmr2_s_s3_mixed.pth',
        ):
            link(self._weights('swinhmr2_s_s3'), folder / name)

    def encoder_weights(self, folder: Path) -> None:
        """A pose model for the encoder of a mesh model to start from."""
        link(self._weights('swinpose_s_s3'), folder / 'pretrained/swinpose_s_s3_coco.pth')

    def imagenet_weights(self, folder: Path) -> None:
        """Swin-small in Microsoft's format, where PyTorch keeps downloads and here."""
        from mmhier.models.backbones.truncated_swin import TruncatedSwin
        from mmhier.testing.released_weights import swin_of_microsoft

        torch.manual_seed(0)
        path = self.store / 'swin_small_patch4_window7_224.pth'
        torch.save(dict(model=swin_of_microsoft(TruncatedSwin('small').state_dict())), path)
        link(path, folder / path.name)
        link(path, folder / 'torch_home/hub/checkpoints' / path.name)

    def tiny_swin_weights(self, folder: Path) -> None:
        """Swin-tiny in Microsoft's format, where PyTorch keeps downloads."""
        from mmhier.models.backbones.truncated_swin import TruncatedSwin
        from mmhier.testing.released_weights import swin_of_microsoft

        torch.manual_seed(0)
        path = folder / 'torch_home/hub/checkpoints/swin_tiny_patch4_window7_224.pth'
        path.parent.mkdir(parents=True)
        torch.save(dict(model=swin_of_microsoft(TruncatedSwin('tiny').state_dict())), path)

    def mae_weights(self, folder: Path) -> None:
        """ViT-S and ViT-B as pre-trained by MAE, where PyTorch keeps downloads."""
        from mmhier.models.backbones.vit import ViT
        from mmhier.testing.released_weights import vit_of_mae

        torch.manual_seed(0)
        place = folder / 'torch_home/hub/checkpoints'
        place.mkdir(parents=True)
        for size in ('small', 'base'):
            weights = dict(model=vit_of_mae(ViT(size).state_dict()))
            torch.save(weights, place / f'mae_pretrain_vit_{size}_20230913.pth')

    def pose_teacher(self, folder: Path) -> None:
        """ViTPose-B."""
        link(self._weights('vitpose_b'), folder / 'pretrained/vitpose_b_coco.pth')

    def no_teacher(self, folder: Path) -> None:
        """What a student that is used does not need."""
        (folder / 'pretrained/vitpose_b_coco.pth').unlink()

    def token_teacher(self, folder: Path) -> None:
        """ViTPose-L."""
        link(self._weights('vitpose_l'), folder / 'pretrained/vitpose_l_coco.pth')

    def mesh_teacher(self, folder: Path) -> None:
        """HMR2.0-H, and the pose model that its student starts from."""
        link(self._weights('hmr2_h'), folder / 'pretrained/hmr2_h_mixed.pth')
        link(self._weights('swinpose_t_s3'), folder / 'pretrained/swinpose_t_s3_coco.pth')

    def vitpose_weights(self, folder: Path) -> None:
        """A narrow ViTPose-B in the format of ViTPose 0.x."""
        from mmengine.config import Config
        from mmengine.registry import init_default_scope
        from mmpose.registry import MODELS

        rename = runpy.run_path(str(TESTS / 'convert' / 'test_vit.py'))
        init_default_scope('mmpose')
        settings = Config.fromfile(ROOT / 'configs/hpe/vitpose_b_coco.py').model
        settings.backbone.update(arch=rename['ARCH'], init_cfg=None)
        settings.head.in_channels = rename['ARCH']['embed_dims']
        model = MODELS.build(settings)
        weights = rename['in_format'](model.backbone, 'vitpose')
        weights |= {f'keypoint_head.{key}': value for key, value in model.head.state_dict().items()}
        torch.save(dict(state_dict=weights), folder / 'vitpose-b.pth')

    def pose_sets(self, folder: Path) -> None:
        """COCO, AIC, MPII and what else is trained together: two pictures of each."""
        from mmengine.config import Config

        from mmhier.testing.pose_sets import write_pose_sets

        cfg = Config.fromfile(ROOT / 'configs/_base_/datasets/many_256x192.py')
        for sets in (cfg.train_sets, cfg.val_sets):
            write_pose_sets(folder, sets, cfg.keypoints)

    def vitpose_plus(self, folder: Path) -> None:
        """ViTPose+ S of its authors, with random weights."""
        from mmhier.convert.vit import DATASETS
        from mmhier.testing.released_weights import vitpose_plus

        state = torch.load(self._weights('vitpose_plus_s'), weights_only=True)['state_dict']
        torch.save(dict(state_dict=vitpose_plus(state, list(DATASETS))), folder / 'vitpose+_small.pth')

    def hmr2_weights(self, folder: Path) -> None:
        """A narrow HMR2.0 in the format of its Lightning checkpoint."""
        rename = runpy.run_path(str(TESTS / 'convert' / 'test_hmr2.py'))
        weights = rename['vit_weights'](rename['vit_model']())
        torch.save({'state_dict': weights, 'pytorch-lightning_version': '1.8.1'}, folder / 'hmr2.ckpt')

    # --- SMPL ------------------------------------------------------------------------------------------

    @cached_property
    def _smpl_arrays(self) -> dict[str, np.ndarray]:
        """A tube with the sizes of SMPL 1.1, whose rings follow one joint each."""
        from mmhier.body_models.smpl_file import PARENTS, ROOT_PARENT

        rng = np.random.default_rng(0)
        ring, step = np.divmod(np.arange(RINGS * AROUND), AROUND)
        angle = 2 * np.pi * step / AROUND
        template = np.stack([0.2 * np.cos(angle), 1.7 * ring / RINGS - 1, 0.2 * np.sin(angle)], axis=1)
        here = np.arange((RINGS - 1) * AROUND)
        right = here // AROUND * AROUND + (here + 1) % AROUND
        faces = np.concatenate(
            [np.c_[here, right, here + AROUND], np.c_[right, right + AROUND, here + AROUND]]
        )
        joint = ring * 24 // RINGS
        weights = np.eye(24)[joint]
        return {
            'v_template': template,
            'shapedirs': rng.normal(0, 0.005, (len(template), 3, 300)).astype(np.float32),
            'posedirs': rng.normal(0, 0.001, (len(template), 3, 207)).astype(np.float32),
            'weights': weights,
            'J_regressor': weights.T / weights.sum(0)[:, None],
            'kintree_table': np.stack([[ROOT_PARENT, *PARENTS[1:]], np.arange(24)]).astype(np.uint32),
            'f': np.resize(faces, (SMPL_FACES, 3)).astype(np.uint32),
        }

    def smpl_files(self, folder: Path) -> None:
        """SMPL's ZIP as its site hands it out, and the single files."""
        from mmhier.body_models.joint_sets import H36M17_NAMES, J19_NAMES

        arrays = self._smpl_arrays
        content = pickle.dumps(arrays, 2)
        with zipfile.ZipFile(folder / 'SMPL_python_v.1.1.0.zip', 'w') as archive:
            for mark in ('neutral', 'm', 'f'):
                name = f'SMPL_python_v.1.1.0/smpl/models/basicmodel_{mark}_lbs_10_207_0_v1.1.0.pkl'
                archive.writestr(name, content)
            archive.writestr('SMPL_python_v.1.1.0/smpl/smpl_webuser/hello_world/hello_smpl.py', 'print()')
        (folder / 'SMPL_NEUTRAL.pkl').write_bytes(content)
        j19, h36m = (sided_regressor(names, arrays['v_template']) for names in (J19_NAMES, H36M17_NAMES))
        (folder / 'SMPL_to_J19.pkl').write_bytes(pickle.dumps(j19, 2))
        np.save(folder / 'J_regressor_h36m.npy', h36m)

    def smplx_files(self, folder: Path) -> None:
        """SMPL-X, and the vertices of its parts."""
        from mmhier.testing.smplx_file import random_smplx

        arrays = random_smplx()
        arrays['posedirs'][:] = 0.0  # quickly compressed
        np.savez(folder / 'SMPLX_NEUTRAL.npz', **arrays)
        hands = {'left_hand': np.arange(778), 'right_hand': np.arange(778) + 800}
        (folder / 'MANO_SMPLX_vertex_ids.pkl').write_bytes(pickle.dumps(hands))
        np.save(folder / 'SMPL-X__FLAME_vertex_ids.npy', np.arange(5023))

    def smplerx(self, folder: Path) -> None:
        """A released file of SMPLer-X, untrained, and SMPL-X installed."""
        from mmhier.cli.main import main
        from mmhier.models.backbones.vit import ViT
        from mmhier.models.heads import SMPLerXHead

        made = runpy.run_path(str(TESTS / 'convert' / 'test_smplerx.py'))
        parts = {'backbone': ViT('small', num_task_tokens=31), 'head': SMPLerXHead(384)}
        weights = made['official_weights'](torch.nn.ModuleDict(parts))
        torch.save(made['snapshot'](weights), folder / 'smpler_x_s32.pth.tar')
        self.smplx_files(folder)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('MMHIER_BODY_MODELS', str(folder / 'body_models'))
            assert main(['body-model', 'setup', str(folder / 'SMPLX_NEUTRAL.npz')]) == 0

    def open_body(self, folder: Path) -> None:
        """The open body, which takes long to build, where this machine has it."""
        from mmhier.body_models.open_body import load_open_body, open_body_path

        load_open_body()
        link(open_body_path(), folder / 'body_models' / open_body_path().name)

    def smpl(self, folder: Path) -> None:
        """SMPL and its regressors, installed."""
        from mmhier.cli.main import main

        files = self.store / 'smpl'
        if not files.is_dir():
            files.mkdir()
            self.smpl_files(files)
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv('MMHIER_BODY_MODELS', str(files / 'installed'))
                for group in (['SMPL_python_v.1.1.0.zip'], ['SMPL_to_J19.pkl', 'J_regressor_h36m.npy']):
                    assert main(['body-model', 'setup', *(str(files / name) for name in group)]) == 0
        for path in (files / 'installed').iterdir():
            link(path, folder / 'body_models' / path.name)

    # --- data sets -------------------------------------------------------------------------------------

    def human_data(self, folder: Path) -> None:
        """Five people of HumanData, without pictures."""
        from mmhier.testing.human_data import write_human_data

        write_human_data(folder / 'data/mine/people.npz')

    def coco(self, folder: Path) -> None:
        """COCO: four pictures to train on, three to validate on, boxes of a detector."""
        from mmhier.testing import write_dot_people

        root = folder / 'data/coco'
        for split, images in (('train', 4), ('val', 3)):
            path = write_dot_people(root, split, images)
            path.rename(path.with_name(f'person_keypoints_{split}2017.json'))
            (root / f'{split}2017').symlink_to(root / 'images' / split)
        coco = json.loads((root / 'annotations/person_keypoints_val2017.json').read_text())
        found = [
            dict(image_id=person['image_id'], category_id=1, bbox=person['bbox'], score=0.9)
            for person in coco['annotations']
        ]
        path = root / 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
        path.parent.mkdir()
        path.write_text(json.dumps(found))

    def benchmarks(self, folder: Path) -> None:
        """Sequences of 3DPW and EMDB, with the pictures of the former."""
        from mmhier.testing import benchmark_files as files

        rng = np.random.default_rng(0)
        motion = files.random_motion(rng)
        pose = folder / 'data/3DPW/sequenceFiles/test/walk_00.pkl'
        pose.parent.mkdir(parents=True)
        found = rng.uniform(50, 90, (files.FRAMES, 3, 18))
        pose.write_bytes(files.dump_python2(files.sequence_of_3dpw('walk_00', [motion], ['f'], [found])))
        for frame in range(files.FRAMES):
            picture(folder / f'data/3DPW/imageFiles/walk_00/image_{frame:05d}.jpg')
        sequence = folder / 'data/EMDB/P0/00_walk/P0_00_walk_data.pkl'
        sequence.parent.mkdir(parents=True)
        kp2d = rng.uniform(50, 90, (files.FRAMES, 24, 2))
        boxes = rng.uniform(0, 5, (files.FRAMES, 4)).cumsum(1)
        emdb = files.sequence_of_emdb('P0_00_walk', motion, 'male', kp2d, boxes)
        sequence.write_bytes(files.dump_python2(emdb))

    def other_benchmarks(self, folder: Path) -> None:
        """Human3.6M, LSP-Extended and PoseTrack: the files of 3DPW and COCO under their names."""
        made = folder / 'data/hmr2_evaluation_data'
        for ours, theirs, pictures, images in (
            ('h36m_val_p2', '3dpw_test', 'h36m/images', '3DPW'),
            ('hr-lspet_train', 'coco_val', 'hr-lspet', 'coco'),
            ('posetrack_2018_val', 'coco_val', 'posetrack/posetrack2018/posetrack_data', 'coco'),
        ):
            link(made / f'{theirs}.npz', made / f'{ours}.npz')
            link(folder / 'data' / images, folder / 'data' / pictures)

    def hmr2_training_data(self, folder: Path) -> None:
        """The tars of 4D-Humans with two pictures each, its motion capture and its histogram of poses."""
        from mmengine.config import Config

        from mmhier.datasets.mesh.tar_index import expand_shards
        from mmhier.testing.mesh_data import shard_members, write_tar

        rng = np.random.default_rng(0)
        root = folder / 'data/hmr2_training_data'
        root.mkdir(parents=True)
        tar = write_tar(root / 'two_people.tar', shard_members(rng, 2))
        shards = Config.fromfile(ROOT / 'configs/_base_/datasets/hmr_mixed.py').shards
        for path in expand_shards([*shards.values()], str(root / 'dataset_tars')):
            link(tar, path)
        np.savez(
            root / 'cmu_mocap.npz', body_pose=rng.normal(0, 0.2, (9, 72)), betas=rng.normal(0, 1, (9, 10))
        )
        np.save(root / 'amass_poses_hist100_SMPL+H_G.npy', rng.integers(0, 9, (21, 20, 20, 20)))


def link(path: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.symlink_to(os.path.abspath(path))


def picture(path: Path) -> None:
    """Write a grey picture of 640 x 480 pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((480, 640, 3), 90, np.uint8))


def sided_regressor(names: tuple[str, ...], template: np.ndarray) -> np.ndarray:
    """Each joint is one vertex, which lies on the side of the body (+x: left) that its name says."""
    matrix = np.zeros((len(names), len(template)))
    for row, name in zip(matrix, names):
        side = name.startswith('left_') * 1 - name.startswith('right_') * 1
        row[np.flatnonzero(template[:, 0] * side > 0.1 if side else np.abs(template[:, 0]) < 0.1)[0]] = 1
    return matrix
