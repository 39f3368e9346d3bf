"""What runs the network of an estimator, other than the PyTorch model itself: :mod:`mmhier.deploy`.

Letters: B people of a batch.
"""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

Outputs = dict[str, Tensor]
Network = Callable[[Tensor], Outputs]


def is_file(engine: str | Path) -> bool:
    """Whether an engine is named by an exported file, which has its weights inside."""
    return bool(Path(engine).suffix)


def open_network(
    engine: str | Path, model: nn.Module, images: Tensor, wanted: tuple[tuple[str, ...], ...]
) -> Network:
    """Make a network from a name or an exported file.

    Args:
        engine: See :func:`mmhier.deploy.make_engine` and :func:`mmhier.deploy.load_exported`.
        model: The model that it stands in for.
        images: A batch of what it will be given, (B, 3, height, width), normalised.
        wanted: Names of outputs of which it has to have one group.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If the runtime is not installed.
        ValueError: If it does not fit the model.
    """
    from mmhier.deploy import load_exported, make_engine

    if not is_file(engine):
        return make_engine(str(engine), model, images)
    exported = load_exported(engine)
    facts = exported.metadata
    size_wh = (images.shape[3], images.shape[2])
    takes, several = facts['input']['takes'], facts['input']['dynamic_batch']
    found = tuple(facts['outputs'])
    if not any(set(group) <= set(found) for group in wanted):
        groups = ' or '.join(', '.join(group) for group in wanted)
        raise ValueError(f'{engine} gives {", ".join(found)}; this model needs {groups}: export it again')
    kept = next(group for group in wanted if set(group) <= set(found))
    if takes == 'normalised' and tuple(facts['input']['size_wh']) != size_wh:
        raise ValueError(
            f'{engine} takes images of {facts["input"]["size_wh"]} pixels (w, h), this model '
            f'{list(size_wh)}: it is an export of another one'
        )

    def run(batch: Tensor) -> Outputs:
        from mmhier.deploy.export import raw_images

        batch = raw_images(model, batch, takes)
        parts = [exported(part) for part in ([batch] if several else batch.split(1))]
        return {name: torch.cat([part[name] for part in parts]) for name in kept}

    return run
