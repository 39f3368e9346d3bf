"""Two optimizers step as two separate training loops would."""

import copy
import itertools
import socket
import subprocess
import sys
from contextlib import contextmanager

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


def data(batches=4):
    return [dict(inputs=x) for x in torch.randn(batches, 3, 2, generator=torch.Generator().manual_seed(1))]


def by_hand(batches, accumulative_counts):
    """Separate losses and optimizers; gradients are averaged over each group of batches."""
    model = toy()
    optimizers = [
        torch.optim.SGD(model.backbone.parameters(), lr=0.1),
        torch.optim.SGD(model.discriminator.parameters(), lr=0.5),
    ]
    for group in torch.arange(len(batches)).split(accumulative_counts):
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


@pytest.mark.parametrize(('batches', 'accumulative_counts'), [(4, 1), (4, 2), (5, 2), (2, 3)])
def test_steps_are_those_of_two_loops(batches, accumulative_counts):
    """Also where the last batches of a run do not fill a group: they are a group of their own."""
    model = toy()
    wrapper = build_optim_wrapper(model, dict(CONFIG, accumulative_counts=accumulative_counts))
    wrapper.initialize_count_status(model, 0, batches)
    for batch in data(batches):
        with wrapper.optim_context(model):
            losses = model(**batch, mode='loss')
        wrapper.update_params(model.parse_losses(losses)[0])
    expected = by_hand(data(batches), accumulative_counts)
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
    expected = by_hand(data(), 2)  # a step of two processes is one of a group of two batches
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


def test_resumed_within_a_group_steps_when_the_group_is_full():
    model = toy()
    wrapper = build_optim_wrapper(model, dict(CONFIG, accumulative_counts=2))
    wrapper.initialize_count_status(model, 1, 4)
    states = [copy.deepcopy(model.state_dict())]
    for batch in data(3):
        wrapper.update_params(model.parse_losses(model(**batch))[0])
        states.append(copy.deepcopy(model.state_dict()))
    for name in states[0]:
        changed = [not torch.equal(a[name], b[name]) for a, b in itertools.pairwise(states)]
        assert changed == [True, False, True], name


def test_part_beats_what_both_share():
    generator = dict(CONFIG['generator'], clip_grad=dict(max_norm=2.0))
    config = dict(CONFIG, generator=generator, clip_grad=dict(max_norm=1.0))
    wrapper = build_optim_wrapper(toy(), config)
    norms = {name: part.clip_grad_kwargs['max_norm'] for name, part in wrapper.items()}
    assert norms == dict(generator=2.0, discriminator=1.0)


def test_forward_pass_has_the_context_of_the_generator(monkeypatch):
    """Autocast; while gradients accumulate no synchronisation."""
    model = toy()
    wrapper = build_optim_wrapper(model, CONFIG)
    inside = []

    @contextmanager
    def context(found):
        assert found is model
        inside.append(True)
        yield
        inside.pop()

    monkeypatch.setattr(wrapper['generator'], 'optim_context', context)
    with wrapper.optim_context(model):
        assert inside == [True]
    assert inside == []


def test_arguments_reach_step_and_zero_grad(monkeypatch):
    model = toy()
    wrapper = build_optim_wrapper(model, CONFIG)
    stepped = []
    for name, part in wrapper.items():
        monkeypatch.setattr(part, 'step', lambda name=name, **kwargs: stepped.append((name, kwargs)))
    losses = model.parse_losses(model(**data()[0]))[0]
    wrapper.update_params(losses, dict(closure=None), dict(set_to_none=False))
    assert stepped == [('generator', dict(closure=None)), ('discriminator', dict(closure=None))]
    assert all(parameter.grad is not None and not parameter.grad.any() for parameter in model.parameters())


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
