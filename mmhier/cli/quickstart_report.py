"""What ``mmhier quickstart`` says at its end: scores, seconds, files."""

from pathlib import Path
from typing import Any

from mmhier.cli.test import write_json
from mmhier.safe_files import read_json


def report(out: Path, seconds: dict[str, float], people: dict[str, Any], mesh: bool) -> None:
    """Print the scores; write them, with the seconds and what the people were made with, to one file.

    Args:
        out: The folder of the results.
        seconds: What each step has taken.
        people: What the people were made with.
        mesh: Whether there is a mesh model.
    """
    spent = ', '.join(f'{name.replace("_", " ")} {duration:.0f} s' for name, duration in seconds.items())
    pose = read_json(out / 'metrics.json')
    lines = [
        f'on the people of {people["num_val"]} held-out synthetic images',
        f'pose: AP {pose["coco/AP"]:.3f}   AR {pose["coco/AR"]:.3f}   Phi {pose["coco/Phi"]:.3f}',
    ]
    summary = dict(people=people, seconds={name: round(value) for name, value in seconds.items()}, pose=pose)
    files = [
        f'{out}/predictions.png   what was predicted',
        f'{out}/loss_curve.png    loss and AP over training',
        f'{out}/metrics.json      all scores of the pose model',
    ]
    if mesh:
        found = summary['mesh'] = read_json(out / 'mesh_metrics.json')
        errors = (
            f'{name} {found[f"mesh/{name}"]:.1f} mm (mean pose: {found[f"mesh/{name} of the mean pose"]:.1f})'
            for name in ('MPJPE', 'PA-MPJPE')
        )
        lines.append(f'mesh: {"   ".join(errors)}   PCK@0.05 {found["mesh/PCK@0.05"]:.3f}')
        files.append(f'{out}/meshes.png        meshes of people who stand upright')
        files.append(f'{out}/mesh_table.md     scores of the mesh model, each with its protocol')
    write_json(summary, str(out / 'quickstart.json'))
    files.append(f'{out}/quickstart.json    all of this in one file')
    print('\n' + '\n'.join([*lines, f'time: {spent}', *files]), flush=True)
