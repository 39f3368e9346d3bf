"""Cost against accuracy as a picture, in the manner of the first figure of arXiv 2510.12660."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mmhier.atomic import new_file

_COLOURS = ('#4477aa', '#cc6677', '#228833', '#ccbb44', '#aa3377', '#66ccee')


class Point(NamedTuple):
    """One model."""

    name: str
    cost: float
    score: float
    params: float  # millions
    deviation: float | None = None  # of the score


def draw_tradeoff(
    path: str | Path, points: Sequence[Point], cost_label: str, score_label: str, title: str = ''
) -> None:
    """Draw a circle per model, its area proportional to its parameters, a colour per family; save as PNG.

    A standard deviation is a bar. Circles of models below 35 million parameters are magnified together.

    Args:
        path: PNG file to write.
        points: The models; the family is what precedes the first underscore of a name.
        cost_label: Of the horizontal axis, which is logarithmic.
        score_label: Of the vertical axis.
        title: Above the picture.

    Raises:
        ValueError: If there is no model to draw.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    if not points:
        raise ValueError(f'cannot draw {path}: no model with a score')
    scale = max(8, 280 / max(point.params for point in points))  # points squared per million
    families = sorted({point.name.split('_')[0] for point in points})
    figure, axis = plt.subplots(figsize=(8, 5), dpi=130, layout='constrained')
    for family, colour in zip(families, _COLOURS * len(families), strict=False):
        own = sorted((p for p in points if p.name.split('_')[0] == family), key=lambda p: -p.score)
        areas = [scale * point.params for point in own]
        costs, scores = [point.cost for point in own], [point.score for point in own]
        axis.scatter(costs, scores, s=areas, color=colour, alpha=0.5, label=family)
        bars = [point for point in own if point.deviation is not None]
        axis.errorbar(
            [point.cost for point in bars],
            [point.score for point in bars],
            [point.deviation for point in bars],
            fmt='none',
            color=colour,
            capsize=3,
            linewidth=1,
        )
        for index, (point, area) in enumerate(zip(own, areas, strict=True)):
            # from the top down; neighbours have their names above and below in turns, beside bars
            radius, barred = (area / math.pi) ** 0.5, point.deviation is not None
            offset = (-1) ** index * (6 if barred else radius + 6)
            axis.annotate(
                re.sub('_(coco|synth)$', '', point.name.removeprefix(f'{family}_')),
                (point.cost, point.score),
                xytext=(radius + 3 if barred else 0, offset),
                textcoords='offset points',
                fontsize=7,
                ha='left' if barred else 'center',
                va='center',
            )
    axis.set(xlabel=cost_label, ylabel=score_label, xscale='log')
    axis.set_title(title, fontsize=8)
    axis.margins(0.18)
    axis.grid(alpha=0.3, which='both')
    legend = axis.legend(title='area: parameters', frameon=False, loc='lower right')
    for handle in legend.legend_handles:
        handle.set_sizes([60])
    with new_file(path) as temporary:
        figure.savefig(temporary, format='png')
    plt.close(figure)
