"""Small models of every family, for images of 48 x 64 pixels."""

import copy

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

import mmhier.models  # noqa: F401

BACKBONES = dict(
    swin=dict(type='TruncatedSwin', arch=dict(embed_dims=16, depths=[1, 2], num_heads=[1, 2], window_size=4)),
    gmf=dict(type='TruncatedGMF', arch=dict(embed_dims=[20, 40], depths=[1, 1], mlp_ratios=[2, 2])),
    vmamba=dict(type='TruncatedVMamba', arch=dict(embed_dims=16, depths=[1, 1], ssm_ratio=2)),
    vit=dict(type='ViT', arch=dict(embed_dims=32, num_layers=2, num_heads=2), img_size=(64, 48)),
)
CODEC = dict(type='UDPHeatmap', input_size=(48, 64), heatmap_size=(12, 16), sigma=1.5)
PREPROCESSOR = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True)


def build(family, head, kind, **options):
    init_default_scope('mmpose')
    torch.manual_seed(0)
    backbone = dict(BACKBONES[family], drop_path_rate=0.0)
    info = MODELS.build(copy.deepcopy(backbone)).feature_info[-1]
    neck = dict(type='ResolutionNeck', in_channels=info.channels, in_stride=info.stride, out_channels=24)
    settings = dict(type=kind, backbone=backbone, neck=neck, head=head, **options)
    model = MODELS.build(settings).eval()
    model.backbone.init_weights()
    return model


def build_pose_model(family):
    head = dict(
        type='HeatmapHead', in_channels=24, out_channels=5, deconv_out_channels=(16, 16),
        deconv_kernel_sizes=(4, 4), decoder=CODEC,
    )  # fmt: skip
    model = build(
        family,
        head,
        'TopdownPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', **PREPROCESSOR),
    )
    torch.nn.init.normal_(model.head.final_layer.weight, std=20.0)  # peaks that keypoints can be read from
    return model


def build_mesh_model(shrink=1):
    arch = dict(embed_dims=32, num_layers=1, num_heads=2, head_dims=8, feedforward_channels=32)
    return build(
        'vit', dict(type='HMR2Head', in_channels=24, arch=arch, readout_gain=0.5), 'TopdownMeshEstimator',
        data_preprocessor=dict(type='MeshDataPreprocessor', shrink=shrink, **PREPROCESSOR),
    )  # fmt: skip


@pytest.fixture(scope='session')
def pose_model():
    """Make a pose model of a family; each call a new one with the same weights."""
    return build_pose_model


@pytest.fixture(scope='session')
def mesh_model():
    """Make a mesh model."""
    return build_mesh_model


@pytest.fixture(scope='session')
def images():
    """Four smooth images, normalised."""
    torch.manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.randn(4, 3, 8, 6), scale_factor=8, mode='bicubic')
    return smooth.clamp(-1.7, 2)
