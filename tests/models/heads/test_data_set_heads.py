"""A decoder per data set: who goes where, what the loss is a mean over, and several processes."""

import multiprocessing
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData
from mmpose.registry import MODELS
from mmpose.structures import PoseDataSample

from mmhier.models.backbones.vit import ViT
from mmhier.network import free_port

CODEC = dict(type='UDPHeatmap', input_size=(48, 64), heatmap_size=(12, 16), sigma=1)
JOINTS = dict(coco=17, aic=14, mpii=16)
ENCODERS = dict(
    vit=dict(type='ViT', **ViT.small),
    experts=dict(type='ViT', **ViT.small, experts=tuple(JOINTS)),
)


def model(encoder='vit', average='own', **more):
    init_default_scope('mmpose')
    torch.manual_seed(0)
    common = dict(type='HeatmapHead', in_channels=16, decoder=CODEC)
    common |= dict(deconv_out_channels=(8, 8), deconv_kernel_sizes=(4, 4))
    common |= dict(loss=dict(type='KeypointMSELoss', use_target_weight=True))
    heads = {name: dict(out_channels=count) for name, count in JOINTS.items()}
    backbone = dict(ENCODERS[encoder], drop_path_rate=0.0)
    return MODELS.build(
        dict(
            type='ManyDatasetsEstimator',
            backbone=backbone,
            head=dict(type='DataSetHeads', heads=heads, common=common, average=average, **more),
            test_cfg=dict(flip_test=True, flip_mode='heatmap'),
        )
    )


def samples(*names):
    """Samples with targets, the same for the same place."""
    made = []
    for number, name in enumerate(names):
        generator = torch.Generator().manual_seed(number)
        count = JOINTS.get(name, 17)
        sample = PoseDataSample()
        sample.set_metainfo(
            dict(
                dataset_name=name,
                flip_indices=list(range(count)),
                input_size=(48, 64),
                input_center=torch.zeros(2).numpy(),
                input_scale=torch.ones(2).numpy(),
            )
        )
        sample.gt_fields = PixelData(heatmaps=torch.rand(count, 16, 12, generator=generator))
        sample.gt_instance_labels = InstanceData(keypoint_weights=torch.ones(1, count))
        sample.gt_instances = InstanceData(
            bboxes=torch.zeros(1, 4).numpy(), bbox_scores=torch.ones(1).numpy()
        )
        made.append(sample)
    return made


def images(count, seed=7):
    return torch.randn(count, 3, 64, 48, generator=torch.Generator().manual_seed(seed))


def gradients(network):
    return {name: parameter.grad for name, parameter in network.named_parameters()}


@pytest.mark.parametrize('encoder', ENCODERS)
def test_a_mixed_batch_is_its_parts(encoder):
    """Each sample gets what it gets in a batch of its data set alone, with its own keypoints."""
    network = model(encoder).eval()
    names = ('mpii', 'coco', 'aic', 'coco', 'mpii')
    x = images(len(names))
    with torch.no_grad():
        mixed = network(x, samples(*names), mode='predict')
        for name in JOINTS:
            rows = [row for row, other in enumerate(names) if other == name]
            alone = network(x[rows], [samples(*names)[row] for row in rows], mode='predict')
            for row, expected in zip(rows, alone, strict=True):
                found = mixed[row].pred_instances
                assert found.keypoints.shape == (1, JOINTS[name], 2)
                torch.testing.assert_close(
                    torch.as_tensor(found.keypoint_scores),
                    torch.as_tensor(expected.pred_instances.keypoint_scores),
                    atol=1e-5,
                    rtol=1e-4,
                )


def test_the_loss_of_a_decoder_is_the_mean_over_its_own_samples():
    """Those of other data sets in the batch change nothing; officially a small data set counts less."""
    network, x = model(), images(4)
    few = ('aic', 'coco', 'coco', 'coco')
    own = network(x, samples(*few), mode='loss')
    alone = network(x[:1], samples(*few)[:1], mode='loss')
    torch.testing.assert_close(own['aic.loss_kpt'], alone['aic.loss_kpt'])
    official = model(average='batch')(x, samples(*few), mode='loss')
    torch.testing.assert_close(official['aic.loss_kpt'], own['aic.loss_kpt'] / 4)
    torch.testing.assert_close(official['coco.loss_kpt'], own['coco.loss_kpt'] * 3 / 4)
    assert own['loss_idle'] == 0 and set(own) >= {'coco.acc_pose', 'loss_idle'} and 'mpii.loss_kpt' not in own


@pytest.mark.parametrize('encoder', ENCODERS)
def test_all_parameters_take_part_without_samples(encoder):
    """An idle decoder, and an idle expert, have gradients of zero and not none."""
    network = model(encoder).train()
    losses = network(images(2), samples('coco', 'aic'), mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    found = gradients(network)
    assert all(value is not None for value in found.values())
    idle = {name: value for name, value in found.items() if 'mpii' in name}
    assert idle and all(value.abs().max() == 0 for value in idle.values())
    busy = [name for name, value in found.items() if '.coco.' in name and value.abs().max() > 0]
    assert any('heads' in name for name in busy) and any('experts' in name for name in busy) == (
        encoder == 'experts'
    )


def _process(rank, port, path):
    torch.distributed.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=rank, world_size=2)
    network = MMDistributedDataParallel(model('experts'), broadcast_buffers=False).train()
    own = slice(0, 3) if rank == 0 else slice(3, 4)
    losses = network(images(4)[own], samples(*NAMES)[own], mode='loss')
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    torch.save(gradients(network.module), path)
    torch.distributed.destroy_process_group()


NAMES = ('coco', 'aic', 'coco', 'coco')


def test_two_processes_with_different_data_sets(tmp_path):
    """Neither waits for a decoder that it has no samples for, and the mean is over the samples of both."""
    port, fork = free_port(), multiprocessing.get_context('fork')
    paths = [tmp_path / f'{rank}.pth' for rank in range(2)]
    processes = [fork.Process(target=_process, args=(rank, port, path)) for rank, path in enumerate(paths)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=120)
    assert [process.exitcode for process in processes] == [0, 0]
    by_process = [torch.load(path, weights_only=True) for path in paths]
    # batch normalisation of a decoder sees the samples of a process, so they are computed as there
    network = model('experts').train()
    for own, share in ((slice(0, 3), {'coco': 2 / 3, 'aic': 1.0}), (slice(3, 4), {'coco': 1 / 3})):
        losses = network(images(4)[own], samples(*NAMES)[own], mode='loss')
        sum(losses[f'{name}.loss_kpt'] * part for name, part in share.items()).backward()
    expected = gradients(network)
    for found in by_process:
        for name, value in found.items():
            wanted = expected[name] if expected[name] is not None else torch.zeros_like(value)
            torch.testing.assert_close(value, wanted, atol=1e-6, rtol=1e-4)


def test_what_does_not_fit_is_named():
    network = model()
    with pytest.raises(
        ValueError, match=r'samples of crowdpose, for which there is no decoder: .*coco, aic, mpii'
    ):
        network(images(1), samples('crowdpose'), mode='loss')
    with pytest.raises(ValueError, match='does not say of which data set'):
        network(images(1), samples(None), mode='loss')
    (odd,) = samples('aic')
    odd.gt_fields = PixelData(heatmaps=torch.zeros(17, 16, 12))
    with pytest.raises(
        ValueError, match=r'a sample of aic has 17 keypoints, .*heads\.aic\.out_channels is 14'
    ):
        network(images(1), [odd], mode='loss')
    with pytest.raises(ValueError, match="average must be one of .*'mean'"):
        model(average='mean')
    with pytest.raises(ValueError, match='test_options has lsp, for which there is no decoder'):
        model(test_options=dict(lsp=dict(flip_test=False)))


def test_experts_and_decoders_are_of_the_same_data_sets():
    backbone = dict(type='ViT', **ViT.small, experts=('coco', 'lsp'))
    heads = dict(coco=dict(type='HeatmapHead', in_channels=16, out_channels=17))
    with pytest.raises(ValueError, match='different data sets: lsp is among one of them only'):
        MODELS.build(
            dict(type='ManyDatasetsEstimator', backbone=backbone, head=dict(type='DataSetHeads', heads=heads))
        )


def test_a_data_set_has_its_own_options_at_test_time():
    """As released ViTPose+ shifts the mirrored heatmaps of some data sets by a pixel."""
    network = model().eval()
    shifted = model(test_options=dict(aic=dict(shift_heatmap=True))).eval()
    with torch.no_grad():
        plain, other = (one(images(2), samples('coco', 'aic'), mode='predict') for one in (network, shifted))
    same = [
        (a.pred_instances.keypoint_scores == b.pred_instances.keypoint_scores).all()
        for a, b in zip(plain, other, strict=True)
    ]
    assert same[0] and not same[1]


@pytest.mark.parametrize('family', ['swinpose_t_s3', 'gmfpose_t_s3', 'vmpose_t_s3', 'vitpose_s'])
def test_every_family_feeds_the_decoders(repo_root, family):
    """Widths of the configs fit; nothing is computed."""
    init_default_scope('mmpose')
    settings = Config.fromfile(Path(repo_root) / 'configs' / 'multi' / f'{family}_seven.py').model
    settings.backbone.init_cfg = None
    with torch.device('meta'):
        network = MODELS.build(settings)
    assert {name: head.final_layer.out_channels for name, head in network.head.heads.items()} == dict(
        coco=17, aic=14, mpii=16, crowdpose=14, ap10k=17, apt36k=17, wholebody=133
    )
    ((channels, stride),) = network.backbone.feature_info
    assert {head.deconv_layers[0].in_channels for head in network.head.heads.values()} == {channels}
    assert stride == 16
