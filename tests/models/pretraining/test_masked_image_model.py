"""Masked images: SimMIM's loss for Swin, every family, what is hidden, and that an encoder begins from it."""

import pytest
import torch
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

from mmhier.models.backbones.truncated_gmf import TruncatedGMF
from mmhier.models.backbones.truncated_swin import TruncatedSwin
from mmhier.models.backbones.truncated_vmamba import TruncatedVMamba
from mmhier.models.backbones.vit import ViT
from mmhier.models.pretraining import MaskedImageModel

FAMILIES = (TruncatedSwin, TruncatedGMF, TruncatedVMamba, ViT)


def build(kind=TruncatedSwin, stages=3, **settings):
    torch.manual_seed(0)
    backbone = dict(type=kind.__name__, num_stages=stages, drop_path_rate=0.0, **kind.small)
    model = MaskedImageModel(backbone, **settings)
    model.init_weights()
    return model


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpose')


@pytest.mark.parametrize('kind', FAMILIES)
def test_every_family_learns_what_is_hidden_and_only_that(kind):
    model = build(kind, mask_patch=16).eval()
    images = torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(1))
    mask = model.draw_mask(images)
    loss = model.loss(images, mask)['loss_hidden']
    loss.backward()
    assert [
        name for name, value in model.named_parameters() if value.requires_grad and value.grad is None
    ] == []
    other = torch.where(mask.bool(), images + 9 * torch.randn_like(images), images)
    with torch.no_grad():
        torch.testing.assert_close(model.reconstruct(other, mask), model.reconstruct(images, mask))
        painted = model.reconstruct(images, mask)
        difference = (painted - images).abs()[mask.bool().expand_as(images)].mean()
    torch.testing.assert_close(loss.detach(), difference)


@pytest.mark.parametrize(('ratio', 'hidden'), [(0.5, 6), (0.51, 7), (1.0, 12)])
def test_masks_hide_whole_squares_of_every_image(ratio, hidden):
    model = build(mask_patch=16, mask_ratio=ratio)
    torch.manual_seed(3)
    mask = model.draw_mask(torch.zeros(5, 3, 64, 48))
    squares = mask.unfold(2, 16, 16).unfold(3, 16, 16)
    assert mask.shape == (5, 1, 64, 48)
    assert torch.equal(squares.amin((4, 5)), squares.amax((4, 5)))
    assert squares.amin((4, 5)).sum((1, 2, 3)).tolist() == [hidden] * 5
    assert ratio == 1 or not torch.equal(mask[0], mask[1])


def test_the_loss_falls():
    model = build(stages=2, mask_patch=16, mask_ratio=0.5)
    rows, columns = torch.meshgrid(torch.linspace(-2, 2, 64), torch.linspace(-2, 2, 48), indexing='ij')
    images = torch.stack([rows, columns, rows * columns]).expand(4, -1, -1, -1)  # what is hidden can be known
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = model(images, mode='loss')['loss_hidden']
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5]), losses


def test_sides_that_nothing_divides():
    model = build(mask_patch=16)
    images = torch.randn(1, 3, 50, 37)
    mask = model.draw_mask(images)
    assert mask.shape == (1, 1, 50, 37) and model.reconstruct(images, mask).shape == images.shape


def test_the_loss_is_that_of_mmpretrain_if_its_token_is_the_embedding_of_the_colour():
    ours = build(mask_patch=16)
    small = TruncatedSwin.small['arch']
    theirs = MODELS.build(
        dict(
            type='mmpretrain.SimMIM',
            backbone=dict(
                type='mmpretrain.SimMIMSwinTransformer',
                arch={
                    key: small[key][:3] if key != 'embed_dims' else 16
                    for key in ('embed_dims', 'depths', 'num_heads')
                },
                img_size=64,
                drop_path_rate=0.0,
                out_indices=(2,),
                pad_small_map=True,
                stage_cfgs=dict(block_cfgs=dict(window_size=4)),
            ),
            neck=dict(type='mmpretrain.SimMIMLinearDecoder', in_channels=64, encoder_stride=16),
            head=dict(
                type='mmpretrain.SimMIMHead',
                patch_size=4,
                loss=dict(type='mmpretrain.PixelReconstructionLoss', criterion='L1', channel=3),
            ),
            data_preprocessor=dict(type='PoseDataPreprocessor'),
        )
    )
    with torch.no_grad():
        ours.mask_colour.copy_(torch.tensor([0.3, -0.7, 0.1]))
        embedded = ours.backbone.patch_embed(ours.mask_colour.view(1, 3, 1, 1).expand(1, 3, 4, 4))[0]
        missing = theirs.backbone.load_state_dict(ours.backbone.state_dict(), strict=False)
        assert missing.missing_keys == ['mask_token'] and not missing.unexpected_keys
        theirs.backbone.mask_token.copy_(embedded[None])
        theirs.neck.decoder[0].load_state_dict(ours.decoder.state_dict())
    images = torch.randn(2, 3, 64, 64)
    mask = ours.draw_mask(images)

    class Sample:
        def __init__(self, mask):
            self.mask = mask[0, ::4, ::4]

    for model in (ours, theirs):
        model.eval()
    expected = theirs.loss(images, [Sample(one) for one in mask])['loss']
    torch.testing.assert_close(ours.loss(images, mask)['loss_hidden'], expected)


def test_its_checkpoint_initialises_encoders_cut_there_or_before(tmp_path):
    model = build()
    file = tmp_path / 'epoch_800.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    for stages in (2, 3):
        settings = dict(num_stages=stages, init_cfg=dict(type='Pretrained', checkpoint=str(file)))
        encoder = TruncatedSwin(**TruncatedSwin.small, **settings)
        encoder.init_weights()
        trained = model.backbone.state_dict()
        compared = [name for name in encoder.state_dict() if name in trained]
        assert len(compared) > 30
        for name in compared:
            torch.testing.assert_close(encoder.state_dict()[name], trained[name], rtol=0, atol=0, msg=name)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        (dict(mask_ratio=0.0), r'mask_ratio must lie in \(0, 1\], got 0.0'),
        (dict(mask_ratio=1.5), 'got 1.5'),
        (dict(mask_patch=0), 'mask_patch must be a number of pixels from 1, got 0'),
    ],
)
def test_wrong_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_an_encoder_that_does_not_say_what_it_returns():
    with pytest.raises(ValueError, match='ResNet has no feature_info'):
        MaskedImageModel(dict(type='ResNet', depth=18))


def test_there_is_nothing_to_evaluate():
    with pytest.raises(ValueError, match='leave out val_cfg'):
        build()(torch.zeros(1, 3, 32, 32), mode='predict')
