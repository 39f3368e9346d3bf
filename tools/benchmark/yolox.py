"""The layout of YOLOX-S (arXiv 2107.08430) with random weights, for timing: the cost of the default detector.

Letters: B images, H, W their sides in pixels, N cells of the strides 8, 16 and 32.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

INPUT_HW = (640, 640)
CLASSES = 80


class Unit(nn.Sequential):
    """Convolution, batch norm, SiLU."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1):
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs, 1e-3), nn.SiLU())


class Bottleneck(nn.Module):
    """1 x 1 and 3 x 3, with or without a way around."""

    def __init__(self, width: int, shortcut: bool):
        super().__init__()
        self.both = nn.Sequential(Unit(width, width), Unit(width, width, 3))
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same."""
        return x + self.both(x) if self.shortcut else self.both(x)


class PartialStage(nn.Module):
    """CSP: bottlenecks on half of the channels, the other half beside them."""

    def __init__(self, inputs: int, outputs: int, count: int, shortcut: bool = True):
        super().__init__()
        half = outputs // 2
        self.before, self.beside = Unit(inputs, half), Unit(inputs, half)
        self.blocks = nn.Sequential(*(Bottleneck(half, shortcut) for _ in range(count)))
        self.after = Unit(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        return self.after(torch.cat([self.blocks(self.before(x)), self.beside(x)], 1))


class Pools(nn.Module):
    """SPP: maxima of three windows beside the map."""

    def __init__(self, width: int):
        super().__init__()
        self.before, self.after = Unit(width, width // 2), Unit(2 * width, width)
        self.pools = nn.ModuleList(nn.MaxPool2d(side, 1, side // 2) for side in (5, 9, 13))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same."""
        x = self.before(x)
        return self.after(torch.cat([x, *(pool(x) for pool in self.pools)], 1))


class Head(nn.Module):
    """The decoupled head of one level."""

    def __init__(self, inputs: int, width: int = 128):
        super().__init__()
        self.stem = Unit(inputs, width)
        self.towers = nn.ModuleList(
            nn.Sequential(Unit(width, width, 3), Unit(width, width, 3)) for _ in range(2)
        )
        self.box, self.person, self.classes = (nn.Conv2d(width, count, 1) for count in (4, 1, CLASSES))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, h, w) to (B, 5 + CLASSES, h w)."""
        x = self.stem(x)
        where, what = (tower(x) for tower in self.towers)
        found = [self.box(where), self.person(where).sigmoid(), self.classes(what).sigmoid()]
        return torch.cat(found, 1).flatten(2)


class YoloxS(nn.Module):
    """Backbone, pyramid and heads; 9.0 million parameters."""

    def __init__(self):
        super().__init__()
        self.stem = Unit(12, 32, 3)
        self.stage2 = nn.Sequential(Unit(32, 64, 3, 2), PartialStage(64, 64, 1))
        self.stage3 = nn.Sequential(Unit(64, 128, 3, 2), PartialStage(128, 128, 3))
        self.stage4 = nn.Sequential(Unit(128, 256, 3, 2), PartialStage(256, 256, 3))
        self.stage5 = nn.Sequential(
            Unit(256, 512, 3, 2), Pools(512), PartialStage(512, 512, 1, shortcut=False)
        )
        self.up = nn.Upsample(scale_factor=2, mode='nearest')
        self.lateral5, self.join4 = Unit(512, 256), PartialStage(512, 256, 1, False)
        self.lateral4, self.join3 = Unit(256, 128), PartialStage(256, 128, 1, False)
        self.down3, self.fuse4 = Unit(128, 128, 3, 2), PartialStage(256, 256, 1, False)
        self.down4, self.fuse5 = Unit(256, 256, 3, 2), PartialStage(512, 512, 1, False)
        self.heads = nn.ModuleList(Head(width) for width in (128, 256, 512))

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 3, H, W) to (B, N, 5 + CLASSES), boxes in units of their cells."""
        corners = [images[..., row::2, column::2] for column in (0, 1) for row in (0, 1)]
        c3 = self.stage3(self.stage2(self.stem(torch.cat(corners, 1))))
        c4 = self.stage4(c3)
        p5 = self.lateral5(self.stage5(c4))
        p4 = self.lateral4(self.join4(torch.cat([self.up(p5), c4], 1)))
        p3 = self.join3(torch.cat([self.up(p4), c3], 1))
        n4 = self.fuse4(torch.cat([self.down3(p3), p4], 1))
        n5 = self.fuse5(torch.cat([self.down4(n4), p5], 1))
        return torch.cat([head(x) for head, x in zip(self.heads, (p3, n4, n5))], 2).transpose(1, 2)


def write_random_detector(path: Path) -> Path:
    """Write it as an ONNX file that finds next to nothing, as its weights are random."""
    torch.manual_seed(0)
    network = YoloxS().eval()
    torch.onnx.export(
        network, (torch.zeros(1, 3, *INPUT_HW),), path, input_names=['images'], output_names=['output'],
        dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    return path
