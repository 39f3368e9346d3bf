"""Every command and program printed in README.md and docs/ runs in a fresh process, as it is typed.

The pages are read, so a command that is printed anew has to be given a run here. A group of commands shares a
folder, like a reader's clone, and runs in order; ``conftest.py`` has the stand-ins for what is licensed,
downloaded or the reader's own. Sizes are cut where :class:`Run` says so, and nothing else is changed.
"""

import os
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.testing.pages import Block, is_program, printed_commands, python_blocks, untitled

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
TIMEOUT = 900  # seconds, on a machine that does much else
TO_SERVE = 'mmhier app '


@dataclass(frozen=True)
class Run:
    """How a printed command is run.

    Attributes:
        add: Put behind it.
        swap: Words of it that are replaced; ``*`` stands for what fits among the files that are there.
        needs: Stand-ins that are made just before.
        makes: Files that it has to leave, as patterns.
        says: Part of what it has to print.
    """

    add: str = ''
    swap: dict[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    makes: tuple[str, ...] = ()
    says: str = ''


@dataclass(frozen=True)
class Group:
    """Commands that a reader would type in one folder, in order.

    Attributes:
        needs: Stand-ins that are there from the start.
        runs: Command as it is printed -> how it is run. ``python PAGE.py`` are those programs of a page
            that have no file name.
        pages: Those whose code blocks with a file name are in the folder: configs in ``configs/``.
        slow: Whether it takes too long for every run of the suite.
        packages: Optional ones without which it is skipped.
    """

    needs: tuple[str, ...]
    runs: dict[str, Run]
    pages: tuple[str, ...] = ()
    slow: bool = False
    packages: tuple[str, ...] = ()


def one_epoch(batch: int) -> str:
    return (
        f'--cfg-options train_cfg.max_epochs=1 train_cfg.val_interval=1 train_dataloader.batch_size={batch}'
    )


COCO = 'configs/hpe/swinpose_s_s3_coco.py'
MIXED = 'configs/hmr/swinhmr2_s_s3_mixed.py'
SHARDED = 'configs/hpe/vitpose_h_coco_fsdp.py'
SHARDED_1 = 'work_dirs/vitpose_h_coco_fsdp/epoch_1'
SMALL_VIT = (
    'model.backbone.arch=small model.backbone.init_cfg=None model.neck.in_channels=384 '
    'model.neck.out_channels=384 model.head.in_channels=384'
)
TEST_COCO = f'python tools/test.py {COCO} CHECKPOINT.pth'
OUT = 'work_dirs/infer'
FROM_B = 'configs/distill/swinpose_t_s2_from_vitpose_b.py'
STUDENT = 'work_dirs/swinpose_t_s2_from_vitpose_b'
SEVEN = 'work_dirs/swinpose_t_s3_seven'
STOCK = 'mmpose::td-hm_mobilenetv2_8xb64-210e_coco-256x192'
SYNTH_POSE = 'work_dirs/swinpose_t_s3_synth/epoch_1.pth'
MICRO_MESHES = f'{OUT}/*_side.jpg', f'{OUT}/*.glb'
BEST = 'work_dirs/my_pose/best_coco_AP_epoch_{}.pth'
BEST_16, BEST_FOUND = BEST.format(16), BEST.format('*')
MAE = 'configs/pretrain/mae_vit_s_coco_crops.py'
PRE_TRAINED = '--cfg-options max_epochs=1 train_dataloader.batch_size=2 default_hooks.checkpoint.interval=1'
FROM_MAE = 'model.backbone.init_cfg.checkpoint=work_dirs/mae_vit_s_coco_crops/epoch_{}.pth'
FEW_CROPS = '--num-crops 2'
# Random networks magnify rounding: what is bounded for trained ones is not judged here.
ANY_DRIFT = f'{FEW_CROPS} --bound 1000'

GROUPS = {
    'poses': Group(
        ('pictures', 'clip', 'detector', 'pose_weights', 'default_weights'),
        {
            'mmhier infer photo.jpg': Run(
                makes=(f'{OUT}/results.json', f'{OUT}/photo_overlay.jpg'), says='model vitpose_s_coco'
            ),
            'mmhier infer photo.jpg --model swinpose_s_s3 --weights swinpose_s_s3.pth': Run(
                makes=(f'{OUT}/results.json', f'{OUT}/photo_overlay.jpg')
            ),
            'mmhier infer clip.mp4 --model swinpose_s_s3 --weights FILE.pth --detector yolox.onnx --track '
            '--out results': Run(makes=('results/results.json', 'results/clip_overlay.mp4')),
            'mmhier infer --webcam 0 --model swinpose_s_s3 --show --save none': Run(
                needs=('camera',), says=' people in '
            ),
            'python inference.py': Run(makes=('out/results.json', 'out/clip_overlay.mp4')),
        },
    ),
    'very many pictures': Group(
        ('pictures', 'detector', 'default_weights'),
        {
            'mmhier infer --on local photos --out labels': Run(
                '--detector yolox.onnx', makes=('labels/plan.json', 'labels/results_000000.json')
            )
        },
        slow=True,
    ),
    'very many pictures, by workers of Ray': Group(
        ('pictures', 'detector', 'default_weights'),
        {
            'mmhier infer --on ray photos --save parquet --out labels': Run(
                '--detector yolox.onnx --workers 1', makes=('labels/results_000000.parquet',)
            )
        },
        slow=True,
        packages=('ray', 'pyarrow'),
    ),
    'exported poses': Group(
        ('pictures', 'pose_weights'),
        {
            'mmhier export swinpose_s_s3 CHECKPOINT.pth --out pose.onnx --dynamic-batch': Run(
                FEW_CROPS, makes=('pose.onnx', 'pose.onnx.json')
            ),
            'mmhier infer --engine pose.onnx': Run('photo.jpg', makes=(f'{OUT}/results.json',)),
            'mmhier export swinpose_s_s3 CHECKPOINT.pth --out pose.onnx --dynamic-batch --decode '
            '--input rgb-uint8': Run(FEW_CROPS, makes=('pose.onnx', 'pose.onnx.json')),
            'python my_program.py': Run(),
            'mmhier export swinpose_s_s3 CHECKPOINT.pth --out pose.xml --dynamic-batch --decode '
            '--input rgb-uint8': Run(FEW_CROPS, makes=('pose.xml', 'pose.bin', 'pose.xml.json')),
            'python my_openvino.py': Run(says='left_ankle: '),
            'python deployment.py': Run(),
            'mmhier export swinpose_s_s3 FILE.pth --format openvino --int8 photos/': Run(
                ANY_DRIFT, makes=('swinpose_s_s3_coco.xml', 'swinpose_s_s3_coco.xml.json')
            ),
            'mmhier export swinpose_s_s3 CHECKPOINT.pth --format openvino --int8 photos_of_people '
            '--boxes people.json': Run(ANY_DRIFT, makes=('swinpose_s_s3_coco.bin',)),
        },
        ('docs/deployment.md',),
        slow=True,
        packages=('onnxscript', 'onnxruntime', 'openvino', 'nncf'),
    ),
    'meshes': Group(
        ('pictures', 'clip', 'detector', 'smpl', 'mesh_weights'),
        {
            'mmhier infer clip.mp4 --model swinhmr2_s_s3 --weights FILE.pth --boxes boxes.json '
            '--save json,overlay,glb,bvh': Run(
                makes=(f'{OUT}/results.json', f'{OUT}/clip_overlay.mp4', f'{OUT}/*.glb', f'{OUT}/*.bvh')
            ),
            'mmhier infer clip.mp4 --model swinhmr2_s_s3 --weights mesh.pth --detector yolox.onnx --track '
            '--save json,overlay,glb': Run(
                swap={'json,overlay,glb': 'json,npz,overlay,glb'},  # for the next one
                makes=(f'{OUT}/results.json', f'{OUT}/*.glb'),
            ),
            'python formats.py': Run(says='(6890, 3)'),
            'mmhier app --model swinhmr2_s_s3 --weights FILE.pth': Run(),
            'mmhier app --model swinhmr2_s_s3': Run(),
        },
    ),
    'the scene': Group(
        ('open_body',), {'python tools/scene_figure.py docs/scene.jpg': Run(makes=('docs/scene.jpg',))}
    ),
    'exported meshes': Group(
        ('mesh_weights', 'smpl', 'open_body'),
        {
            'mmhier export swinhmr2_s_s3 CHECKPOINT.pth --format exported-program --fp16': Run(
                ANY_DRIFT, makes=('swinhmr2_s_s3_mixed.pt2',)
            ),
        },
        slow=True,
    ),
    'quickstart': Group(
        ('open_body', 'pictures'),
        {
            'mmhier synth data/synth --train 4000 --val 300 --seed 0 --scenes simple': Run(
                swap={'4000': '16', '300': '3'}, makes=('data/synth/annotations/person_keypoints_train.json',)
            ),
            'mmhier train configs/hpe/swinpose_micro_s3_synth.py': Run(
                makes=('work_dirs/swinpose_micro_s3_synth/epoch_16.pth',)
            ),
            'mmhier infer data/synth/images/val --model swinpose_micro_s3_synth '
            '--boxes data/synth/annotations/person_keypoints_val.json': Run(makes=(f'{OUT}/results.json',)),
            'mmhier train configs/hmr/swinhmr2_micro_s3_synth.py': Run(
                makes=('work_dirs/swinhmr2_micro_s3_synth/epoch_14.pth',)
            ),
            'mmhier infer data/synth/images/val --model swinhmr2_micro_s3_synth --detector whole_image '
            '--save json,overlay,side,glb': Run(makes=MICRO_MESHES),
            'mmhier demo': Run('--no-show', makes=('mmhier_demo/demo.jpg', 'mmhier_demo/demo_walk.glb')),
        },
        slow=True,  # by default the tests of the quickstart and of the demo do the same
    ),
    'data of your own': Group(
        ('open_body',),
        {
            'mmhier synth data/own --train 400 --val 40 --seed 7 --scenes simple': Run(
                swap={'400': '16', '40': '3'}
            ),
            'mmhier train configs/my_pose.py': Run(makes=('work_dirs/my_pose/best_coco_AP_epoch_*.pth',)),
            # Which epoch is the best depends on the people.
            f'mmhier test configs/my_pose.py {BEST_16}': Run(swap={BEST_16: BEST_FOUND}, says='coco/Phi'),
            'python my_five.py': Run(makes=('data/own/annotations/five_val.json',)),
            'mmhier train configs/my_points.py': Run(makes=('work_dirs/my_points/best_coco_AP_epoch_*.pth',)),
            'python my_npz.py': Run(makes=('data/own/annotations/my_mesh_val.npz',)),
            'mmhier train configs/my_mesh.py': Run(makes=('work_dirs/my_mesh/epoch_14.pth',)),
            'mmhier infer data/own/images/val --model configs/my_mesh.py --detector whole_image '
            '--save json,overlay,side': Run(makes=(f'{OUT}/results.json', f'{OUT}/*_side.jpg')),
            'python tools/prepare/synth_to_npz.py data/own': Run(
                makes=('data/own/annotations/mesh_train.npz',)
            ),
        },
        ('docs/training.md',),
        slow=True,
    ),
    'synthetic people': Group(
        ('open_body',),
        {
            'mmhier synth data/synth --train 20000 --val 500 --seed 0': Run(swap={'20000': '4', '500': '2'}),
            'python tools/train.py configs/hpe/swinpose_t_s3_synth.py': Run(
                one_epoch(2), makes=(SYNTH_POSE,)
            ),
            'python tools/train.py configs/hmr/swinhmr2_t_s3_synth.py': Run(
                f'{one_epoch(2)} model.backbone.init_cfg.checkpoint={SYNTH_POSE}',
                makes=('work_dirs/swinhmr2_t_s3_synth/epoch_1.pth',),
            ),
        },
        slow=True,
    ),
    'COCO': Group(
        ('coco', 'imagenet_weights'),
        {
            f'python tools/train.py {COCO}': Run(
                one_epoch(2), makes=('work_dirs/swinpose_s_s3_coco/epoch_1.pth',)
            ),
        },
    ),
    'COCO, tested and distributed': Group(
        ('coco', 'imagenet_weights', 'pose_weights'),
        {
            f'bash tools/dist_train.sh {COCO} 8': Run(
                one_epoch(1), {'8': '2'}, makes=('work_dirs/swinpose_s_s3_coco/epoch_1.pth',)
            ),
            f'MAX_RESTARTS=3 bash tools/dist_train.sh {COCO} 8 --resume': Run(
                one_epoch(1), {'8': '2'}, makes=('work_dirs/swinpose_s_s3_coco/epoch_1.pth',)
            ),
            f'bash tools/dist_train.sh {SHARDED} 8': Run(
                f'{one_epoch(1)} {SMALL_VIT}',
                {'8': '2'},
                makes=(f'{SHARDED_1}.pth', f'{SHARDED_1}.parts/*_1.pth'),
            ),
            f'mmhier convert {SHARDED_1.replace("_1", "_210")}.pth vitpose_h.pth --whole-model': Run(
                swap={f'{SHARDED_1.replace("_1", "_210")}.pth': f'{SHARDED_1}.pth'}, makes=('vitpose_h.pth',)
            ),
            f'python tools/test.py {COCO} work_dirs/swinpose_s_s3_coco/epoch_210.pth': Run(
                swap={
                    'work_dirs/swinpose_s_s3_coco/epoch_210.pth': 'work_dirs/swinpose_s_s3_coco/epoch_1.pth'
                },
                says='coco/Phi',
            ),
            f'bash tools/dist_test.sh {COCO} CHECKPOINT 8': Run(swap={'8': '2'}, says='coco/Phi'),
            f'{TEST_COCO} --out metrics.json': Run(makes=('metrics.json',), says='coco/Phi'),
            f'{TEST_COCO} --cfg-options test_dataloader.dataset.bbox_file=None': Run(says='coco/Phi'),
            f'{TEST_COCO} --cfg-options model.test_cfg.flip_test=False': Run(says='coco/Phi'),
        },
        slow=True,
    ),
    'models of MMPose': Group(
        ('pictures', 'coco', 'stock_weights'),
        {
            f'mmhier infer photo.jpg --model {STOCK} --weights FILE.pth': Run(
                makes=(f'{OUT}/results.json', f'{OUT}/photo_overlay.jpg')
            ),
            f'mmhier train {STOCK}': Run(one_epoch(2), makes=(f'work_dirs/{STOCK[8:]}/epoch_1.pth',)),
            f'mmhier test {STOCK} FILE.pth': Run(says='coco/AP'),
            f'mmhier export {STOCK} FILE.pth --out stock.onnx': Run(
                ANY_DRIFT, makes=('stock.onnx', 'stock.onnx.json')
            ),
            f'mmhier benchmark {STOCK} swinpose_s_s3 --batch 1': Run('--runs 1', says=f'`{STOCK[8:]}`'),
            'mmhier models "mmpose::*mobilenetv2*coco-256x192"': Run(says=f'`{STOCK[8:]}`'),
        },
        slow=True,
        packages=('onnxscript', 'onnxruntime'),
    ),
    'distillation': Group(
        ('pictures', 'coco', 'tiny_swin_weights', 'pose_teacher'),
        {
            f'mmhier train {FROM_B}': Run(one_epoch(2), makes=(f'{STUDENT}/epoch_1.pth',)),
            f'mmhier test swinpose_t_s2_coco {STUDENT}/epoch_210.pth': Run(
                swap={f'{STUDENT}/epoch_210.pth': f'{STUDENT}/epoch_1.pth'}, says='coco/Phi'
            ),
            f'mmhier infer photo.jpg --model swinpose_t_s2 --weights {STUDENT}/epoch_210.pth': Run(
                swap={f'{STUDENT}/epoch_210.pth': f'{STUDENT}/epoch_1.pth'},
                needs=('no_teacher',),
                makes=(f'{OUT}/results.json',),
            ),
            'mmhier train configs/my_cached.py': Run(
                one_epoch(2),
                needs=('pose_teacher',),
                makes=('work_dirs/my_cached/epoch_1.pth', 'data/teacher_cache/*/*/*.npz'),
            ),
        },
        ('docs/distillation.md',),
        slow=True,
    ),
    'distilled tokens': Group(
        ('coco', 'token_teacher', 'mae_weights'),
        {
            'mmhier train configs/distill/vitpose_l_knowledge_token.py': Run(
                one_epoch(2), makes=('work_dirs/vitpose_l_knowledge_token/epoch_1.pth',)
            ),
            'mmhier train configs/distill/vitpose_s_from_l_both.py': Run(
                f'{one_epoch(2)} model.backbone.init_cfg.knowledge_token='
                'work_dirs/vitpose_l_knowledge_token/epoch_1.pth',
                makes=('work_dirs/vitpose_s_from_l_both/epoch_1.pth',),
            ),
        },
        slow=True,
    ),
    'variants of ViTPose': Group(
        ('coco', 'mae_weights'),
        {
            'mmhier train configs/ablation/vitpose_b_stride8_shift_pool.py': Run(
                one_epoch(2), makes=('work_dirs/vitpose_b_stride8_shift_pool/epoch_1.pth',)
            ),
            'python tools/benchmark/vit_attention.py --out vit_attention.csv': Run(
                'vitpose_b_coco --runs 1 --kernels fused', makes=('vit_attention.csv',)
            ),
        },
        slow=True,
    ),
    'truncations of Swin': Group(
        ('coco', 'tiny_swin_weights'),
        {
            'mmhier compare swinpose_t_s3_coco --stages 2 3 4 --epochs 20 --out work_dirs/swin_t': Run(
                '--seeds 0 --runs 1 --cfg-options train_dataloader.batch_size=2',
                {'20': '1'},
                makes=('work_dirs/swin_t/tradeoff.png',),
                says='`swinpose_t_s4_coco`',
            ),
        },
        slow=True,
    ),
    'truncations of micro models': Group(
        ('open_body',),
        {
            'mmhier synth data/synth --train 500 --val 200 --seed 0 --scenes simple': Run(
                swap={'500': '16', '200': '4'}
            ),
            'mmhier compare swinpose_micro_s3 gmfpose_micro_s3 vmpose_micro_s3 --stages 2 3 4 --epochs 8 '
            '--cfg-options train_dataloader.batch_size=16 param_scheduler.0.end=40 codec.sigma=1.0 '
            '"codec.input_size=(64,96)" "codec.heatmap_size=(16,24)"': Run(
                '--seeds 0',
                {'8': '1'},
                makes=('work_dirs/compare/table.csv', 'work_dirs/compare/tradeoff.png'),
                says='Budget: 1 epochs of data/synth/ in batches of 16',
            ),
        },
        slow=True,
    ),
    'pre-training': Group(
        ('coco', 'pictures'),
        {
            f'python tools/train.py {MAE}': Run(
                PRE_TRAINED, makes=('work_dirs/mae_vit_s_coco_crops/epoch_1.pth',)
            ),
            f'python tools/train.py configs/hpe/vitpose_s_coco.py --cfg-options {FROM_MAE.format(1600)}': Run(
                'train_cfg.max_epochs=1 train_cfg.val_interval=1 train_dataloader.batch_size=2',
                {FROM_MAE.format(1600): FROM_MAE.format(1)},
                makes=('work_dirs/vitpose_s_coco/epoch_1.pth',),
            ),
            'mmhier train configs/my_pretraining.py': Run(
                PRE_TRAINED, makes=('work_dirs/my_pretraining/epoch_1.pth',)
            ),
        },
        ('docs/pretraining.md',),
        slow=True,
    ),
    'what pre-training gains': Group(
        ('open_body',),
        {
            'python tools/benchmark/pretraining.py --out pretraining.csv': Run(
                '--people 16 --held-out 4 --pretrain-epochs 1 --epochs 1 --seeds 1',
                makes=('pretraining.csv',),
                says='| swin    | pretrained |',
            )
        },
        slow=True,
    ),
    'many data sets': Group(
        ('pose_sets', 'tiny_swin_weights', 'vitpose_plus'),
        {
            'mmhier train configs/multi/swinpose_t_s3_seven.py': Run(
                one_epoch(4), makes=(f'{SEVEN}/epoch_1.pth',)
            ),
            f'mmhier test swinpose_t_s3_seven {SEVEN}/epoch_210.pth': Run(
                swap={f'{SEVEN}/epoch_210.pth': f'{SEVEN}/epoch_1.pth'},
                makes=(f'{SEVEN}/pose_table.md', f'{SEVEN}/pose_table.json'),
                says='| wholebody ',
            ),
            f'mmhier convert {SEVEN}/epoch_210.pth mpii.pth --whole-model --dataset mpii': Run(
                swap={f'{SEVEN}/epoch_210.pth': f'{SEVEN}/epoch_1.pth'}, makes=('mpii.pth',)
            ),
            'mmhier test swinpose_t_s3_mpii mpii.pth': Run(says='PCK'),
            'mmhier convert vitpose+_small.pth plus_s.pth --whole-model --dataset all': Run(
                makes=('plus_s.pth',)
            ),
            'mmhier test vitpose_plus_s_released plus_s.pth': Run(says='| apt36k '),
            'mmhier convert vitpose+_small.pth plus_s_coco.pth --whole-model --dataset coco': Run(
                makes=('plus_s_coco.pth',)
            ),
            'mmhier test vitpose_s_coco plus_s_coco.pth': Run(says='coco/Phi'),
        },
        ('docs/many_datasets.md',),
        slow=True,
    ),
    'what distillation gains': Group(
        ('open_body',),
        {
            'python tools/benchmark/distillation.py --out distillation.csv': Run(
                '--people 16 --held-out 4 --teacher-epochs 1 --epochs 1 --seeds 1',
                makes=('distillation.csv',),
                says='| distilled |',
            )
        },
        slow=True,
    ),
    'body models': Group(
        ('smpl_files', 'smplx_files', 'open_body'),
        {
            'mmhier body-model list': Run(says='not installed'),
            'mmhier body-model setup SMPL_python_v.1.1.0.zip': Run(says='SMPL female, version 1.1'),
            'mmhier body-model setup SMPL_NEUTRAL.pkl SMPL_to_J19.pkl J_regressor_h36m.npy': Run(
                makes=('body_models/smpl_regressor_h36m.npz',)
            ),
            'mmhier body-model setup SMPLX_NEUTRAL.npz MANO_SMPLX_vertex_ids.pkl '
            'SMPL-X__FLAME_vertex_ids.npy': Run(
                says='SMPL-X neutral, version 1.0', makes=('body_models/smplx_vertices_face.npz',)
            ),
            'python body_models.py': Run(says='[1, 17, 3]'),
        },
    ),
    'whole bodies': Group(
        ('smplerx', 'open_body'),
        {
            'python wholebody.py': Run(says='torch.Size([1, 137, 3]) torch.Size([1, 3, 4])'),
            'mmhier synth data/whole --train 4000 --val 300 --seed 0 --whole-body --image-size 384x384': Run(
                swap={'4000': '2', '300': '1'}, makes=('data/whole/annotations/human_data_train.npz',)
            ),
        },
        slow=True,
    ),
    'data of whole bodies': Group(
        ('human_data',),
        {
            'mmhier check-data configs/my_whole_bodies.py': Run(
                '--pictures 0', says='1 of 1 data sets can be used, with 5 people'
            ),
        },
        ('docs/wholebody_data.md',),
    ),
    'mix of HMR2.0': Group(
        ('smpl_files', 'coco', 'benchmarks', 'hmr2_training_data', 'encoder_weights', 'mesh_weights'),
        {
            'mmhier body-model setup SMPL_python_v.1.1.0.zip SMPL_to_J19.pkl': Run(says='SMPL_to_J19'),
            'python tools/prepare/benchmark_to_npz.py coco '
            'data/coco/annotations/person_keypoints_val2017.json': Run(says='3 people'),
            'python tools/prepare/benchmark_to_npz.py 3dpw data/3DPW/sequenceFiles/test': Run(
                says='5 people'
            ),
            'python tools/prepare/benchmark_to_npz.py emdb data/EMDB --boxes joints': Run(says='5 people'),
            'python tools/prepare/index_tars.py '
            '"data/hmr2_training_data/dataset_tars/h36m-train/{000000..000312}.tar"': Run(
                says='313 tars, 626 people, 0 tars damaged'
            ),
            f'python tools/train.py {MIXED}': Run(
                '--cfg-options train_cfg.max_iters=1 train_cfg.val_interval=1 train_dataloader.batch_size=2',
                makes=('work_dirs/swinhmr2_s_s3_mixed/iter_1.pth',),
            ),
            f'python tools/test.py {MIXED} CHECKPOINT': Run(
                needs=('other_benchmarks',), makes=('work_dirs/swinhmr2_s_s3_mixed/mesh_table.md',)
            ),
            f'python tools/test.py {MIXED} CHECKPOINT.pth': Run(says='PA-MPJPE'),
            'mmhier train configs/distill/swinhmr2_t_s3_from_hmr2_h.py': Run(
                '--cfg-options train_cfg.max_iters=1 train_cfg.val_interval=1 train_dataloader.batch_size=2',
                needs=('mesh_teacher',),
                makes=('work_dirs/swinhmr2_t_s3_from_hmr2_h/iter_1.pth',),
            ),
        },
        slow=True,
    ),
    'an encoder of your own': Group(
        ('open_body',),
        {
            'python my_encoder.py': Run(),
            'mmhier synth data/synth --train 200 --val 20 --seed 0 --scenes simple': Run(
                swap={'200': '8', '20': '4'}, says='8 train images'
            ),
            'PYTHONPATH=.:$PYTHONPATH mmhier train configs/my_encoder_pose.py': Run(
                one_epoch(4), makes=('work_dirs/my_encoder_pose/epoch_1.pth',), says='coco/AP'
            ),
            'PYTHONPATH=.:$PYTHONPATH python -m pytest tests/models/test_backbone_properties.py '
            '-p my_encoder -k MyEncoder': Run(says='34 passed'),
        },
        ('docs/extending.md',),
        slow=True,
    ),
    'a mesh data set of your own': Group(
        (), {'python my_people.py': Run()}, ('docs/mesh_data_set.md',), slow=True
    ),
    'weights of others': Group(
        ('imagenet_weights', 'vitpose_weights', 'hmr2_weights'),
        {
            'mmhier convert swin_small_patch4_window7_224.pth swin_small_s3.pth --num-stages 3': Run(
                makes=('swin_small_s3.pth',)
            ),
            'mmhier convert swin_small_patch4_window7_224.pth swin_small_s3.pth --model swinpose_s_s3': Run(
                makes=('swin_small_s3.pth',)
            ),
            'mmhier convert vitpose-b.pth vitpose_b_coco.pth --whole-model': Run(
                makes=('vitpose_b_coco.pth',)
            ),
            'mmhier convert hmr2.ckpt hmr2_h.pth --whole-model': Run(makes=('hmr2_h.pth',)),
        },
    ),
    'this machine': Group(
        (),
        {
            'mmhier doctor': Run(says='Everything required works'),
            'mmhier doctor --fix': Run(says='There is nothing to repair'),
            'mmhier models list': Run(says='swinpose-micro: trained on synthetic people'),
            'mmhier models verify': Run(says='swinpose_micro_s3_varied.safetensors is whole'),
            'mmhier models "swinpose_*_coco" --plot cost.png': Run(
                makes=('cost.png',), says='`swinpose_s_s3_coco`'
            ),
        },
    ),
    'speed': Group(
        (),
        {
            'mmhier models': Run(says='`hmr2_h_mixed`'),
            'mmhier benchmark': Run('--runs 1 --batch 1', says='`vmpose_t_s3_coco`'),
            'mmhier benchmark swinpose_s_s3_coco vitpose_s_coco --batch 1 8': Run(
                '--runs 1', says='`vitpose_s_coco`'
            ),
            'mmhier benchmark swinpose_s_s3_coco --engine eager onnxruntime openvino --batch 1': Run(
                '--runs 1', says='openvino'
            ),
        },
        slow=True,
        packages=('onnxscript', 'onnxruntime', 'openvino'),
    ),
}

# Not run: they fetch from elsewhere, or are the very suite. By what they are run otherwise.
NOT_RUN = {
    'git clone <this repository> mmhier && cd mmhier': 'names no address',
    'pip install "mmhier[synth] @ git+<this repository>"': 'names no address; tests/test_wheel.py',
    'pip install gradio av': 'fetches from an index',
    'pip install ray pyarrow': 'the same',
    'pip install jupyterlab': 'fetches from an index',
    'jupyter lab notebooks': 'waits for a browser; tests/test_notebooks.py runs the notebooks',
    'mmhier models download yolox-s vitpose-plus-small': 'fetches; tests/cli/test_model_files.py',
    'mmhier models download mae-base --accept-licence': 'the same',
    'python tools/zoo/check.py --write': 'fetches; tests/tools/test_zoo_check.py',
    'make quickstart': 'tests/cli/test_quickstart.py runs its steps',
    'make quickstart-full': 'the same',
    'make test': '.ci/run',
    'make test-slow': 'is this suite',
    'make lint': 'by hand before a change lands',
    'make docs': 'tests/test_docs.py builds the site',
}

PROGRAMS = {page: python_blocks(page) for page in PAGES}


def to_run(page: Path) -> list[str]:
    """Commands of a page, and those that run its programs."""
    programs, _ = PROGRAMS[page]
    own = [f'python {block.title}' for block in programs if block.title]
    return [*printed_commands(page), *own, *([f'python {page.stem}.py'] if untitled(programs) else [])]


def test_every_printed_command_has_a_run_and_every_run_is_printed():
    printed = {command: page.relative_to(ROOT) for page in reversed(PAGES) for command in to_run(page)}
    known = {command for group in GROUPS.values() for command in group.runs} | NOT_RUN.keys()
    assert len(printed) > 50
    missing = [f'{page}: {command}' for command, page in printed.items() if command not in known]
    assert not missing, 'printed without a run in GROUPS:\n' + '\n'.join(missing)
    assert not known - printed.keys(), 'in no page any more'


def test_what_is_not_run_fetches_or_is_the_suite():
    fetching = (
        'git clone',
        'pip install',
        'jupyter lab',
        'mmhier models download',
        'python tools/zoo/check.py',
    )
    for command in NOT_RUN:
        assert command.startswith((*fetching, 'make ')), command


@pytest.mark.parametrize(
    'name',
    [pytest.param(name, marks=pytest.mark.slow if group.slow else ()) for name, group in GROUPS.items()],
)
def test_commands_run_as_printed(name, stand_ins, tmp_path):
    group = GROUPS[name]
    absent = [package for package in group.packages if find_spec(package) is None]
    if absent:
        pytest.skip(f'needs {", ".join(absent)}')
    folder = clone(tmp_path / 'mmhier', group.pages)
    for stand_in in group.needs:
        stand_ins.make(stand_in, folder)
    for command, run in group.runs.items():
        for stand_in in run.needs:
            stand_ins.make(stand_in, folder)
        line = as_run(command, run, folder)
        (serve if line.startswith(TO_SERVE) else execute)(line, run, folder)
    shutil.rmtree(folder)


def test_printed_configs_build(tmp_path):
    """Configs without a file name: a model, or a part of one."""
    pytest.importorskip('timm')
    folder = clone(tmp_path / 'mmhier', ()) / 'configs/mine'
    folder.mkdir()
    init_default_scope('mmpose')
    built = 0
    for page, (_, configs) in PROGRAMS.items():
        for block in configs:
            if not block.title:
                path = folder / f'{page.stem}_{built}.py'
                path.write_text(block.text)
                cfg = Config.fromfile(path)
                model = cfg.get('model') or cfg.backbone
                model.get('backbone', model).init_cfg = None
                assert MODELS.build(model).state_dict(), f'{page}:\n{block.text}'
                built += 1
    assert built > 2


def clone(folder: Path, pages: tuple[str, ...]) -> Path:
    """A folder like a clone, with the files that pages print; what is made in it stays in it."""
    (folder / 'configs').mkdir(parents=True)
    for path in (ROOT / 'configs').iterdir():
        (folder / 'configs' / path.name).symlink_to(path)
    for name in ('tools', 'notebooks', 'requirements', 'tests'):
        (folder / name).symlink_to(ROOT / name)
    for page, (programs, configs) in PROGRAMS.items():
        if text := untitled(programs):
            (folder / f'{page.stem}.py').write_text(text)
        if page.relative_to(ROOT).as_posix() in pages:
            for block in [*programs, *configs]:
                if block.title:
                    (folder / place(block)).write_text(block.text)
    return folder


def place(block: Block) -> str:
    return block.title if is_program(block.text) else f'configs/{block.title}'


def as_run(command: str, run: Run, folder: Path) -> str:
    words = [run.swap.get(word, word) for word in command.split(' ')] if run.swap else [command]
    words = [
        str(min(folder.glob(word)).relative_to(folder)) if word in run.swap.values() and '*' in word else word
        for word in words
    ]
    return ' '.join(filter(None, [*words, run.add]))


def environment(folder: Path) -> dict[str, str]:
    """Of a fresh process: one thread, this checkout, no network, nothing that the user has installed."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    nowhere = 'http://127.0.0.1:9'
    paths = [str(folder / 'stand_in_camera'), str(ROOT), os.environ.get('PYTHONPATH', '')]
    return os.environ | dict(
        PATH=os.pathsep.join([os.path.dirname(sys.executable), os.environ['PATH']]),
        PYTHONPATH=os.pathsep.join(filter(None, paths)),
        OMP_NUM_THREADS='1',
        TORCH_HOME=str(folder / 'torch_home'),
        MMHIER_BODY_MODELS=str(folder / 'body_models'),
        MMHIER_HOME=str(folder / 'mmhier_home'),
        MMHIER_OFFLINE='1',
        http_proxy=nowhere,
        https_proxy=nowhere,
        no_proxy='127.0.0.1,localhost',
        PORT=str(port),
    )


def execute(line: str, run: Run, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for pattern in run.makes for path in folder.glob(pattern)}
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        ['bash', '-c', line],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT,
    )
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f'{now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime:.1f} s of CPU: {line}')
    assert done.returncode == 0, f'{line}\n{done.stdout[-3000:]}'
    assert run.says in done.stdout, f'{line} does not print {run.says!r}:\n{done.stdout[-3000:]}'
    for pattern in run.makes:
        made = [path for path in folder.glob(pattern) if path.stat().st_mtime_ns != before.get(path)]
        assert made, f'{line} makes no {pattern}:\n{done.stdout[-3000:]}'


def serve(line: str, run: Run, folder: Path) -> None:
    """The page answers until Ctrl-C; without gradio the command says what to install."""
    words = shlex.split(line)
    process = subprocess.Popen(
        words,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        if find_spec('gradio') is None:
            told, _ = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 1 and 'pip install gradio' in told, told
            return
        told = ''
        while 'Ctrl-C' not in told.rpartition('\n')[2] and process.poll() is None:
            told += process.stdout.readline()
            address = next((word for word in told.split() if word.startswith('http://')), None)
            if address:
                break
        assert address, f'{line} does not say where the page is:\n{told[-3000:]}'
        with urllib.request.urlopen(address, timeout=60) as page:
            assert page.status == 200 and b'mmhier' in page.read()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


def test_a_command_that_is_new_is_noticed(tmp_path):
    page = tmp_path / 'page.md'
    page.write_text(
        '```bash\nmmhier infer photo.jpg \\\n    --new   # as printed\n```\nSee `mmhier infer`, '
        '`make dinner`, `mmhier convert IN OUT` and `mmhier export --int8`; or `mmhier models "a*"`.\n\n'
        '- Also\n\n  ```console\n  $ python new.py\n  ```\n'
    )
    expected = ['mmhier infer photo.jpg --new', 'python new.py', 'make dinner', 'mmhier models "a*"']
    assert printed_commands(page) == expected
