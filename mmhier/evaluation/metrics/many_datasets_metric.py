"""Scores of several data sets in one run, each by a metric of its own, and one table of them."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmpose.registry import METRICS

from mmhier.tables import markdown, write_text

# Columns of the table: what a metric calls it.
COLUMNS = ('AP', 'AP .5', 'AP .75', 'AP (M)', 'AP (L)', 'AP (E)', 'AP (H)', 'AR', 'PCK', 'PCK@0.1')


@METRICS.register_module()
class ManyDatasetsMetric(BaseMetric):
    """A metric per data set, by the name that samples have in ``dataset_name``.

    Scores are called ``NAME/AP``. MMPose's ``MultiDatasetEvaluator`` tells data sets apart by their class, so
    that AP-10K and APT-36K would be one.

    Args:
        judges: Data set -> its metric, such as ``dict(type='CocoMetric', ann_file=...)``.
        outfile_prefix: Writes the table to ``{outfile_prefix}.md`` and ``.json``.
        collect_device: See MMEngine.
        prefix: First part of the names of the scores, if any.

    Raises:
        ValueError: If there is no metric.
    """

    def __init__(
        self,
        judges: Mapping[str, Mapping],
        outfile_prefix: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device, prefix)
        if not isinstance(judges, Mapping) or not judges:
            raise ValueError(f'judges of ManyDatasetsMetric are a dictionary by data set, got {judges!r}')
        self.metrics = {
            name: METRICS.build(metric) if isinstance(metric, Mapping) else metric
            for name, metric in judges.items()
        }
        self.outfile_prefix = outfile_prefix

    @BaseMetric.dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict) -> None:
        """Hand each metric the description of its data set.

        Raises:
            ValueError: If a metric has no data set, or a data set no metric.
        """
        self._dataset_meta = dataset_meta
        described = dataset_meta.get('datasets', {})
        if set(described) != set(self.metrics):
            raise ValueError(
                f'data sets and metrics have to go together: {", ".join(sorted(described)) or "none"} are '
                f"read (datasets of type='ManyDatasets'), {', '.join(sorted(self.metrics))} are judged "
                '(judges of the evaluator)'
            )
        for name, metric in self.metrics.items():
            metric.dataset_meta = described[name]

    def process(self, data_batch: object, data_samples: Sequence[dict]) -> None:
        """Let each sample be looked at by the metric of its data set.

        Raises:
            ValueError: If there is none.
        """
        for sample in data_samples:
            name = sample.get('dataset_name')
            if name not in self.metrics:
                raise ValueError(
                    f'a sample is of the data set {name!r}, there are metrics of '
                    f'{", ".join(self.metrics)}: add it to judges of the evaluator'
                )
            metric = self.metrics[name]
            metric.process({}, [sample])
            self.results.append((name, list(metric.results)))
            metric.results.clear()

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Compute the scores of all data sets, and write the table."""
        scores: dict[str, dict[str, float]] = {}
        counts = {}
        for name, metric in self.metrics.items():
            own = [result for other, kept in results if other == name for result in kept]
            counts[name] = sum(other == name for other, _ in results)
            scores[name] = metric.compute_metrics(own) if own else {}
        self._write(scores, counts)
        return {f'{name}/{key}': value for name, own in scores.items() for key, value in own.items()}

    def _write(self, scores: Mapping[str, Mapping[str, float]], counts: Mapping[str, int]) -> None:
        columns = [key for key in COLUMNS if any(key in own for own in scores.values())]
        rows = [
            [name, str(counts[name]), *(_cell(own.get(key)) for key in columns)]
            for name, own in scores.items()
        ]
        table = markdown(['Data set', 'Samples', *columns], rows)
        print_log(f'Scores of all data sets (AP and AR of 1, PCK of 100):\n{table}', 'current', logging.INFO)
        if self.outfile_prefix is not None:
            path = Path(self.outfile_prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [
                dict(dataset=name, samples=counts[name], **{key: float(value) for key, value in own.items()})
                for name, own in scores.items()
            ]
            write_text(Path(f'{path}.md'), table + '\n')
            write_text(Path(f'{path}.json'), json.dumps(kept, indent=1) + '\n')


def _cell(value: float | None) -> str:
    if value is None:
        return ''
    return f'{value:.3f}' if math.isfinite(value) and abs(value) <= 1 else f'{value:.1f}'
