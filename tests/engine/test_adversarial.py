"""Two optimizers step as two separate training loops would."""

import socket
import subprocess
import sys

import pytest
import torch
import torch.distributed as dist
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.optim import build_optim_wrapper
from torch import nn

from mmhier.engine.launch import finish_distributed

CONFIG = dict(
    constructor='mmpose.AdversarialConstructor',
    generator=dict(optimizer=dict(type='SGD', lr=0.1)),
    discriminator=dict(optimizer=dict(type='SGD', lr=0.5)),
)


class Toy(BaseModel):
    """y = generator(x); the discriminator judges y."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Linear(2, 2)
        self.discriminator = nn.Linear(2, 1)

    def forward(self, inputs, mode='tensor'):
        y = self.backbone(inputs)
        constants = {name: value.detach() for name, value in self.discriminator.named_parameters()}
        judged = torch.func.functional_call(self.discriminator, constants, (y,))
        return dict(
            loss_generator=(judged - 1).square().mean(),
            loss_discriminator=self.discriminator(y.detach()).square().mean(),
        )

    def parse_losses(self, losses):
        return {key.removeprefix('loss_'): value for key, value in losses.items()}, losses


def toy():
    torch.manual_seed(0)
    return Toy()


def data():
    return [dict(inputs=x) for x in torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(1))]


def by_hand(batches, steps):
    """Separate losses and optimizers; gradients are averaged over each group of batches."""
    model = toy()
    optimizers = [
        torch.optim.SGD(model.backbone.parameters(), lr=0.1),
        torch.optim.SGD(model.discriminator.parameters(), lr=0.5),
    ]
    for group in torch.arange(len(batches)).chunk(steps):
        for optimizer in optimizers:
            optimizer.zero_grad()
        for index in group.tolist():
            y = model.backbone(batches[index]['inputs'])
            adversarial = (model.discriminator(y) - 1).square().mean() / len(group)
            gradients = torch.autograd.grad(adversarial, list(model.backbone.parameters()))
            for parameter, gradient in zip(model.backbone.parameters(), gradients, strict=True):
                parameter.grad = gradient + (0 if parameter.grad is None else parameter.grad)
            (model.discriminator(y.detach()).square().mean() / len(group)).backward()
        for optimizer in optimizers:
            optimizer.step()
    return model.state_dict()


@pytest.mark.parametrize('accumulative_counts', [1, 2])
def test_steps_are_those_of_two_loops(accumulative_counts):
    model = toy()
    wrapper = build_optim_wrapper(model, dict(CONFIG, accumulative_counts=accumulative_counts))
    wrapper.initialize_count_status(model, 0, 4)
    for batch in data():
        with wrapper.optim_context(model):
            losses = model(**batch, mode='loss')
        wrapper.update_params(model.parse_losses(losses)[0])
    expected = by_hand(data(), 4 // accumulative_counts)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, expected[name])
        assert not torch.equal(value, toy().state_dict()[name])


def _process(rank, port, path):
    dist.init_process_group('gloo', f'tcp://127.0.0.1:{port}', rank=int(rank), world_size=2)
    model = MMDistributedDataParallel(toy(), broadcast_buffers=False)
    wrapper = build_optim_wrapper(model, CONFIG)
    for batch in (data()[int(rank)], data()[int(rank) + 2]):
        model.train_step(batch, wrapper)
    torch.save(model.module.state_dict(), path)
    finish_distributed()


def test_two_processes_step_together(tmp_path):
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = str(probe.getsockname()[1])
    paths = [tmp_path / f'{rank}.pth' for rank in range(2)]
    commands = [[sys.executable, __file__, str(rank), port, str(path)] for rank, path in enumerate(paths)]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    expected = by_hand(data(), 2)
    for state in map(torch.load, paths):
        for name, value in state.items():
            torch.testing.assert_close(value, expected[name])


def test_parts_have_their_own_settings():
    model = toy()
    config = dict(CONFIG, clip_grad=dict(max_norm=1.0))
    wrapper = build_optim_wrapper(model, config)
    assert wrapper.get_lr() == {'generator.lr': [0.1], 'discriminator.lr': [0.5]}
    owned = {
        name: {id(p) for group in wrapper[name].param_groups for p in group['params']}
        for name in ('generator', 'discriminator')
    }
    assert owned['discriminator'] == {id(p) for p in model.discriminator.parameters()}
    assert owned['generator'] == {id(p) for p in model.backbone.parameters()}
    assert wrapper['generator'].clip_grad_kwargs == wrapper['discriminator'].clip_grad_kwargs is not None


def test_state_survives_saving():
    model = toy()
    config = dict(CONFIG, generator=dict(optimizer=dict(type='AdamW', lr=0.1)))
    first, second = (build_optim_wrapper(model, config) for _ in range(2))
    first.update_params(model.parse_losses(model(data()[0]['inputs']))[0])
    second.load_state_dict(first.state_dict())
    states = [wrapper['generator'].optimizer.state_dict()['state'] for wrapper in (first, second)]
    assert states[0][0]['step'] == states[1][0]['step'] == 1
    torch.testing.assert_close(states[0], states[1])


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(discriminator=None), 'needs optim_wrapper.discriminator'),
        (dict(paramwise_cfg=dict(norm_decay_mult=0)), 'must stand in one of'),
    ],
)
def test_errors_name_the_remedy(config, message):
    config = {key: value for key, value in {**CONFIG, **config}.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        build_optim_wrapper(toy(), config)


def test_a_model_without_discriminator_is_refused():
    model = toy()
    del model.discriminator
    with pytest.raises(ValueError, match='has no discriminator'):
        build_optim_wrapper(model, CONFIG)


def test_a_single_loss_is_refused():
    wrapper = build_optim_wrapper(toy(), CONFIG)
    with pytest.raises(ValueError, match='a single one'):
        wrapper.update_params(torch.tensor(1.0, requires_grad=True))


if __name__ == '__main__':
    import mmhier  # noqa: F401

    _process(*sys.argv[1:])
