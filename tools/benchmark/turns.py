"""What the scripts of this folder time, and how."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mmhier.cost.latency import time_in_turns


def step(network: nn.Module, images: Tensor, mode: str) -> Callable[[], Tensor]:
    """Return what is timed: a forward pass, or a forward and a backward pass."""

    def infer() -> Tensor:
        with torch.inference_mode():
            return network(images)[-1]

    def train() -> Tensor:
        network.zero_grad(set_to_none=True)
        out = network(images)[-1]
        out.square().mean().backward()
        return out.detach()

    network.train(mode == 'train')
    return infer if mode == 'infer' else train


def medians(calls: list[Callable[[], object]], runs: int, device: str) -> list[float]:
    """Median seconds of each call, timed in turns."""
    return [timing.median for timing in time_in_turns(calls, runs, device)]
