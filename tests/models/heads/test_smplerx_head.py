"""SMPLerXHead: sizes, gradients, batches, precision, and the ways in which it is run."""

import pytest
import torch
from mmpose.registry import MODELS

from mmhier.models.backbones.vit import ViT
from mmhier.models.heads.smplerx_head import (
    FOCAL,
    SMPLerXHead,
    camera_translation,
    cut_boxes,
    expected_place,
    project,
    sample_points,
    spatial_softmax,
    unmirrored_hand,
)

# Parameters of the official parts: encoder, positions, body, boxes, hands (positions, crop, rotations), face.
OFFICIAL = {
    'small': (384, (21675648, 154000, 1901757, 5509641, 123200, 1512384, 1125234, 6160), 32008024),
    'base': (768, (85818624, 307600, 2103357, 7082505, 246080, 6047616, 1321842, 12304), 102939928),
    'large': (1024, (303328256, 410000, 2237757, 8131081, 328000, 10750464, 1452914, 16400), 326654872),
    'huge': (1280, (630951680, 512400, 2372157, 9179657, 409920, 16796800, 1583986, 20496), 661827096),
}


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize('size', OFFICIAL)
def test_parameters_are_the_official_ones(size):
    dims, wanted, total = OFFICIAL[size]
    with torch.device('meta'):
        encoder, head = ViT(size, num_task_tokens=31), SMPLerXHead(dims)
    # The official encoder has one row of positions more, which it adds to every patch; ours holds the sum.
    found = [
        count(encoder) + dims,
        *(
            count(part)
            for part in (
                head.body_position, head.body_regressor, head.box_net, head.hand_position, head.hand_crop,
                head.hand_regressor, head.face_regressor,
            )
        ),
    ]  # fmt: skip
    assert tuple(found) == wanted
    assert count(encoder) + dims + count(head) == total


@pytest.fixture(scope='module')
def head():
    torch.manual_seed(0)
    head = MODELS.build(dict(type='SMPLerXHead', in_channels=16))
    head.init_weights()
    for parameter in head.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return head.eval()


def features(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 16, 16, 12, generator=generator), torch.randn(
        batch, 31, 16, generator=generator
    )


@pytest.mark.parametrize('batch', [1, 2, 3, 5])
def test_a_batch_is_a_loop_of_singles(head, batch):
    """In batches of three too, where the official code mixes the people."""
    maps, tokens = features(batch)
    with torch.no_grad():
        together = head((maps, tokens))
        for index in range(batch):
            single = head((maps[index : index + 1], tokens[index : index + 1]))
            for one, many in zip(single, together, strict=True):
                torch.testing.assert_close(one[0], many[index], rtol=1e-4, atol=1e-5)
    assert together.pose.shape == (batch, 159) and together.points.shape == (batch, 65, 3)
    assert together.body.keys() == {
        'global_orient', 'body_pose', 'left_hand_pose', 'right_hand_pose', 'jaw_pose', 'betas', 'expression',
    }  # fmt: skip


def test_mirrored_features_give_the_other_hand(head):
    """One network for both hands: swap the boxes in a mirrored map and the hands are mirrored."""
    crop, regress = head.hand_crop, head.hand_regressor
    x = torch.randn(1, 16, 16, 12)
    boxes = torch.tensor([[[10.0, 20.0, 70.0, 80.0], [100.0, 40.0, 160.0, 100.0], [0.0, 0.0, 9.0, 9.0]]])
    with torch.no_grad():
        hands = crop(x, boxes)
        assert hands.shape == (2, 16, 16, 16)
        points = head.hand_position(hands)[1]
        assert regress(hands, points).shape == (2, 90)
    pose = torch.randn(1, 45)
    torch.testing.assert_close(unmirrored_hand(unmirrored_hand(pose)), pose)
    assert unmirrored_hand(torch.ones(1, 45))[0, :6].tolist() == [1, -1, -1, 1, -1, -1]


def test_gradients_reach_every_parameter_and_all_tokens_but_two(head):
    maps, tokens = features(2)
    tokens.requires_grad_()
    found = head((maps, tokens))
    sum(value.square().sum() for value in found if value.requires_grad).backward()
    lacking = [name for name, value in head.named_parameters() if value.grad is None or not value.grad.any()]
    assert lacking == []
    used = tokens.grad.abs().amax(dim=(0, 2)) > 0
    assert used.tolist() == [True] * 4 + [False] * 2 + [True] * 25
    assert not found.boxes.requires_grad
    head.zero_grad()


def test_float32_under_autocast(head):
    with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
        found = head(features(2))
    assert {value.dtype for value in found} == {torch.float32}


@pytest.mark.slow
def test_exports_with_a_free_batch(head):
    class Flat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.head = head

        def forward(self, maps, tokens):
            return tuple(self.head((maps, tokens)))

    batch = torch.export.Dim('batch')
    with torch.no_grad():
        program = torch.export.export(Flat(), features(2), dynamic_shapes=({0: batch}, {0: batch}))
        for found, expected in zip(program.module()(*features(5, 1)), head(features(5, 1)), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_places_are_in_cells():
    logits = torch.full((1, 2, 5, 7, 9), -50.0)
    logits[0, 0, 1, 2, 3] = logits[0, 1, 4, 6, 8] = 50.0
    volumes = spatial_softmax(logits)
    torch.testing.assert_close(volumes.sum((2, 3, 4)), torch.ones(1, 2))
    assert expected_place(volumes).tolist() == [[[3, 2, 1], [8, 6, 4]]]
    x = torch.arange(63.0).view(1, 1, 7, 9)
    found = sample_points(x, torch.tensor([[[3.0, 2.0], [0.5, 0.0], [20.0, 3.0]]]))
    torch.testing.assert_close(found[0, :, 0], torch.tensor([21.0, 0.5, 0.0]))


def test_boxes_are_enlarged_squares():
    centers = torch.tensor([[[6.0, 8.0], [1.0, 2.0], [6.0, 1.0]]])
    sizes = torch.tensor([[[2.0, 1.0], [1.0, 3.0], [2.0, 2.0]]])
    assert cut_boxes(centers, sizes).tolist() == [[[64, 96, 128, 160], [-32, -16, 64, 80], [72, -8, 120, 40]]]


def test_convention_camera():
    transl = camera_translation(torch.tensor([[0.1, -0.2, 0.0]]))
    torch.testing.assert_close(transl, torch.tensor([[0.1, -0.2, 0.5 * FOCAL * 2.5 / (256 * 192) ** 0.5]]))
    pixels = project(torch.tensor([[[0.0, 0.0, 10.0], [1.0, 2.0, 50.0 - 1e-4]]]))
    torch.testing.assert_close(pixels, torch.tensor([[[96.0, 128.0], [196.0, 328.0]]]))


@pytest.mark.parametrize(
    'wrong',
    [
        (torch.zeros(1, 16, 16, 12),),
        (torch.zeros(1, 16, 16, 16), torch.zeros(1, 31, 16)),
        (torch.zeros(1, 16, 16, 12), torch.zeros(1, 24, 16)),
        (torch.zeros(1, 32, 16, 12), torch.zeros(1, 31, 32)),
    ],
)
def test_other_features_are_refused(head, wrong):
    with pytest.raises(ValueError, match='num_task_tokens=31'):
        head(wrong)
    with pytest.raises(ValueError, match='divisible by 4'):
        SMPLerXHead(18)
