"""The large model of a distillation: frozen, outside of its student, loaded when it is first asked.

It is no part of the student's parameters or checkpoints. Loading it changes no random number, so that a run
that is resumed goes on as it would have gone on.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor, nn

from mmhier.distillation.target_cache import TargetCache, pack, unpack
from mmhier.ops.remember import outside_modes
from mmhier.student import without_teacher
from mmhier.zoo.choice import AUTO
from mmhier.zoo.names import resolve_config

PRECISIONS = ('auto', 'half', 'single')


class Teacher:
    """A model that is asked only.

    Args:
        config: Its config: file or name.
        checkpoint: Its weights: file, address, name of released weights; or 'auto': what training has left in
            ``pretrained/`` or ``work_dirs/``, else released ones.
        precision: 'half' computes in float16 as automatic mixed precision does, which needs a GPU; 'single'
            in float32; 'auto' takes half precision on GPUs.
        cache: Folder for what it says, see :mod:`mmhier.distillation.target_cache`; None keeps nothing.
        ask: What it says about images: ``network, images (B, 3, height, width) -> targets``, tensors by name.

    Raises:
        ValueError: If a setting is unknown.
    """

    def __init__(
        self,
        config: str,
        ask: Callable[[nn.Module, Tensor], dict[str, Tensor]],
        checkpoint: str = AUTO,
        precision: str = 'auto',
        cache: str | None = None,
    ):
        if precision not in PRECISIONS:
            raise ValueError(f'teacher.precision must be one of {PRECISIONS}, got {precision!r}')
        self.config, self.checkpoint, self.precision = config, checkpoint, precision
        self.ask, self.folder = ask, cache
        self.cache: TargetCache | None = None
        self._network: nn.Module | None = None

    @classmethod
    def of(
        cls, settings: Mapping[str, Any], ask: Callable[[nn.Module, Tensor], dict[str, Tensor]]
    ) -> 'Teacher':
        """Make the teacher that a config describes.

        Raises:
            ValueError: If it has no ``config``, or a key that nobody reads.
        """
        known = {'config', 'checkpoint', 'precision', 'cache'}
        if not isinstance(settings, Mapping) or 'config' not in settings or set(settings) - known:
            raise ValueError(
                f'teacher must have a config, and may have {", ".join(sorted(known - {"config"}))}; got '
                f'{dict(settings) if isinstance(settings, Mapping) else settings!r}'
            )
        return cls(ask=ask, **settings)

    def settings(self) -> Config:
        """Its config, without a teacher of its own.

        Raises:
            FileNotFoundError: If there is no such config.
        """
        cfg = Config.fromfile(resolve_config(self.config))
        cfg.model = without_teacher(cfg.model)
        return cfg

    def network(self) -> nn.Module:
        """The model, loaded at the first call.

        Raises:
            FileNotFoundError: If it has no weights.
            ValueError: If the weights are of another model.
        """
        if self._network is None:
            from mmhier.inference.estimators import load_estimator

            with outside_modes(), torch.random.fork_rng(devices=[]):
                network = load_estimator(self.config, self.checkpoint, 'cpu').model
            self._network = network.requires_grad_(False)
        return self._network

    def half(self, device: torch.device) -> bool:
        """Whether it computes in float16 on a device.

        Raises:
            ValueError: If it has to and cannot.
        """
        if self.precision == 'half' and device.type != 'cuda':
            raise ValueError("teacher.precision='half' needs a GPU: set 'auto' or 'single'")
        return self.precision != 'single' and device.type == 'cuda'

    def targets(self, images: Tensor, keys: Sequence[str | None]) -> dict[str, Tensor]:
        """What it says about a batch.

        Args:
            images: (B, 3, height, width), normalised.
            keys: Of the crops, by which a cache knows them.

        Returns:
            As ``ask`` gives it, in float32.

        Raises:
            ValueError: If there is a cache and the crops have no keys, or the teacher is one of images of
                another size.
        """
        self._check_size(images)
        if self.folder is None:
            return self._compute(images)
        if None in keys:
            raise ValueError(
                'teacher.cache needs crops that come again: wrap the training data set, dataset=dict(type='
                "'RepeatedViews', views=4, dataset=dict(...))"
            )
        if self.cache is None:
            self.cache = TargetCache(self.folder, self.identity(images.device))
        crops = [self.cache.get(key) for key in keys]
        missing = [index for index, crop in enumerate(crops) if crop is None]
        if missing:
            computed = self._compute(images[missing])
            for place, index in enumerate(missing):
                crops[index] = pack(computed, place)
                self.cache.put(keys[index], crops[index])
        return unpack(crops, images.device)

    def identity(self, device: torch.device) -> str:
        """16 hexadecimal digits of all that its answers depend on but the images."""
        digest = hashlib.sha256(repr((self.settings().model.to_dict(), self.half(device))).encode())
        for name, value in sorted(self.network().state_dict().items()):
            digest.update(name.encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()[:16]

    def _compute(self, images: Tensor) -> dict[str, Tensor]:
        network = self.network()
        if next(network.parameters()).device != images.device:
            network.to(images.device)
        half = self.half(images.device)
        precision = torch.autocast('cuda', torch.float16) if half else nullcontext()
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False), precision:
            return {name: value.float() for name, value in self.ask(network, images).items()}

    def _check_size(self, images: Tensor) -> None:
        """Refuse images of another size than those that a plain ViT was trained with."""
        size = getattr(self.network().backbone, 'img_size', None)
        if size is not None and tuple(size) != tuple(images.shape[2:]):
            raise ValueError(
                f'the teacher {self.config} was trained with images of {size[0]} x {size[1]} (h, w), the '
                f'student gets {images.shape[2]} x {images.shape[3]}: both must see the same crops'
            )


def check_same(name: str, student: Any, teacher: Any, config: str) -> None:
    """Refuse a teacher that differs from its student in something that must be alike.

    Args:
        name: Of what is compared, a path in the config.
        student: Its value there.
        teacher: The teacher's.
        config: The teacher's config.

    Raises:
        ValueError: If they differ.
    """
    if student != teacher:
        raise ValueError(
            f'model.{name} is {student!r}, that of the teacher {config} {teacher!r}: they must be alike. '
            'Choose a teacher of the same input and keypoints, or change the student'
        )
