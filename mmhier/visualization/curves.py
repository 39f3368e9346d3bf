"""Training curves as a picture, from the scalars that MMEngine's visualizer backend writes."""

from pathlib import Path

from mmhier.atomic import new_file
from mmhier.safe_files import parse_json, read_text


def read_scalars(work_dir: str | Path) -> list[dict]:
    """Read all scalar records under a work directory, in the order of the runs (a resumed run has several).

    Raises:
        FileNotFoundError: If no run has written scalars yet.
    """
    files = sorted(Path(work_dir).glob('*/vis_data/scalars.json'))
    if not files:
        raise FileNotFoundError(f'no */vis_data/scalars.json under {work_dir}; has training run?')
    return [
        parse_json(line, str(file)) for file in files for line in read_text(file).splitlines() if line.strip()
    ]


def plot_training(records: list[dict], path: str | Path, metric: str = 'coco/AP') -> None:
    """Draw loss (left axis) and a validation metric (right axis) over epochs, and save as PNG.

    Args:
        records: From :func:`read_scalars`.
        path: PNG file to write.
        metric: Key of the validation metric.

    Raises:
        ValueError: If the records hold no loss.
    """
    import matplotlib

    matplotlib.use('Agg')
    from matplotlib import pyplot as plt

    losses = [(record['iter'], record['epoch'], record['loss']) for record in records if 'loss' in record]
    if not losses:
        raise ValueError(f'cannot draw {path}: no record has a loss')
    scores = [(record['step'], record[metric]) for record in records if metric in record]
    per_epoch = max(iteration / epoch for iteration, epoch, _ in losses)
    figure, axis = plt.subplots(figsize=(7, 4), dpi=130, layout='constrained')
    axis.plot(
        [row[0] / per_epoch for row in losses], [row[2] for row in losses], color='#4477aa', label='loss'
    )
    axis.set(xlabel='epoch', ylabel='heatmap loss (MSE)', yscale='log')
    axis.grid(alpha=0.3)
    if scores:
        right = axis.twinx()
        right.plot(*zip(*scores), color='#cc6677', marker='o', markersize=3, label=metric)
        right.set(ylabel=f'{metric} on held-out people', ylim=(0, 1))
    figure.legend(loc='upper center', bbox_to_anchor=(0.5, 0.98), ncols=2, frameon=False)
    with new_file(path) as temporary:
        figure.savefig(temporary, format='png')
    plt.close(figure)
