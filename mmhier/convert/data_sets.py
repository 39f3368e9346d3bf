"""A checkpoint of many data sets (``ManyDatasetsEstimator``) -> an ordinary pose model of one of them.

Its decoder becomes the decoder; where the encoder has experts, that of the data set is joined to the rest.
Names are ours before and after.
"""

from collections.abc import Mapping

from torch import Tensor

from mmhier.convert.key_table import Converted
from mmhier.convert.vit import EXPERTS, join_expert

HEADS = 'head.heads.'


def is_many(state_dict: Mapping[str, Tensor]) -> bool:
    """Whether these are weights of a model with a decoder per data set."""
    return any(key.startswith(HEADS) for key in state_dict)


def pick_decoder(
    state_dict: Mapping[str, Tensor], dataset: str | None, source: str = 'checkpoint'
) -> Converted:
    """Make an ordinary pose model of one of many data sets.

    Raises:
        ValueError: If the data set is not named, or has no decoder.
    """
    names = sorted({key.split('.')[2] for key in state_dict if key.startswith(HEADS)})
    if dataset not in names:
        raise ValueError(
            f'{source} has decoders for {", ".join(names)}: choose one with dataset= (--dataset), got '
            f'{dataset!r}'
        )
    own, weights, dropped = f'{HEADS}{dataset}.', {}, {}
    for key, value in state_dict.items():
        if key.startswith(HEADS) and not key.startswith(own):
            dropped[key] = 'decoder of another data set'
        else:
            weights[f'head.{key.removeprefix(own)}' if key.startswith(own) else key] = value
    if any(EXPERTS in key for key in weights):
        joined = join_expert(weights, dataset, source)
        dropped |= {key: 'expert of a data set' for key in weights.keys() - joined.keys()}
        weights = joined
    return Converted(weights, 'mmhier', dropped)
