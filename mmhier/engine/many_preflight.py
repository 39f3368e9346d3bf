"""What of a config belongs to which data set, where a run has several: decoder, metric and target encoding.

Of an ordinary config everything belongs to the one data set, whose name is None here.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from mmengine.config import Config, ConfigDict

MANY = 'ManyDatasets'
HEADS = 'DataSetHeads'
METRIC = 'ManyDatasetsMetric'


class Part(NamedTuple):
    """A data set of a loader, with what is made for it."""

    name: str | None
    field: str  # where the data set stands in the config
    dataset: ConfigDict
    head: ConfigDict
    head_field: str
    evaluator: ConfigDict | list | None
    evaluator_field: str


def heads_of(model: Mapping) -> dict[str | None, ConfigDict]:
    """Decoders of a model by data set, each with what is common to all."""
    head = model.get('head') or ConfigDict()
    if head.get('type') != HEADS:
        return {None: head}
    common, heads = head.get('common') or {}, head.get('heads')
    if not isinstance(heads, Mapping) or not all(isinstance(own, Mapping) for own in heads.values()):
        raise ValueError(f'model.head.heads are a dictionary of data sets and their decoders, got {heads!r}')
    return {name: ConfigDict({**common, **own}) for name, own in heads.items()}


def parts_of(cfg: Config, loader: str) -> Iterator[Part]:
    """The data sets of a loader.

    Raises:
        ValueError: If a data set has no decoder, expert or metric, or one of these no data set.
    """
    whole, model = cfg[loader].get('dataset'), cfg.get('model') or ConfigDict()
    name_of_evaluator = loader.replace('dataloader', 'evaluator')
    evaluator = cfg.get(name_of_evaluator) if loader != 'train_dataloader' else None
    heads = heads_of(model)
    many = isinstance(whole, Mapping) and whole.get('type') == MANY
    if many != (None not in heads):
        raise ValueError(
            f'{loader}.dataset.type={MANY!r} and model.head.type={HEADS!r} go together: one decoder per data '
            f'set. Here {"the data sets have" if many else "the decoders have"} no counterpart'
        )
    if not many:
        yield Part(None, f'{loader}.dataset', whole, heads[None], 'model.head', evaluator, name_of_evaluator)
        return
    datasets = whole.get('datasets')
    if not isinstance(datasets, Mapping) or not datasets:
        raise ValueError(f'{loader}.dataset.datasets are a dictionary of names and data sets')
    field = f'{loader}.dataset.datasets'
    _check_counterparts(field, datasets, 'model.head.heads', heads, 'decoder', loader == 'train_dataloader')
    if experts := (model.get('backbone') or {}).get('experts'):
        _check_counterparts('model.head.heads', heads, 'model.backbone.experts', experts, 'expert')
    metrics: Mapping = {}
    if evaluator is not None:
        if not isinstance(evaluator, Mapping) or evaluator.get('type') != METRIC:
            raise ValueError(f'{name_of_evaluator}.type={METRIC!r} judges {loader}.dataset.type={MANY!r}')
        metrics = evaluator.get('judges') or {}
        _check_counterparts(field, datasets, f'{name_of_evaluator}.judges', metrics, 'metric')
    for name, dataset in datasets.items():
        head = heads[name], f'model.head.heads.{name}'
        yield Part(
            name, f'{field}.{name}', dataset, *head, metrics.get(name), f'{name_of_evaluator}.judges.{name}'
        )


def _check_counterparts(
    field: str, names: Mapping, other_field: str, others: Mapping | list, kind: str, both: bool = True
) -> None:
    if lacking := [name for name in names if name not in others]:
        raise ValueError(
            f'{field} has {", ".join(lacking)}, for which {other_field} has no {kind}: it has '
            f'{", ".join(others)}. Add one, or leave the data set out'
        )
    if both and (idle := [name for name in others if name not in names]):
        raise ValueError(
            f'{other_field} has {", ".join(idle)}, for which {field} has no data set: it has '
            f'{", ".join(names)}. Add it, or leave the {kind} out'
        )
