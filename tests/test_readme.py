"""What the README says about the models is true of the code."""

import re

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpose.registry import MODELS

ROW = re.compile(r'^\| `(swinpose_\w+_coco)` \| ([\d.]+) \| ([\d.]+) \|$', re.M)


def test_model_table_is_current(repo_root):
    init_default_scope('mmpose')
    rows = ROW.findall((repo_root / 'README.md').read_text())
    assert len(rows) == 9
    for name, *written in rows:
        cfg = Config.fromfile(repo_root / 'configs' / 'hpe' / f'{name}.py')
        cfg.model.backbone.init_cfg = None
        with torch.device('meta'):
            model = MODELS.build(cfg.model)
        counts = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (model.backbone, model)]
        assert written == [f'{count:.2f}' for count in counts], name


def test_every_file_that_the_readme_links_or_runs_exists(repo_root):
    text = (repo_root / 'README.md').read_text()
    paths = re.findall(r'\]\((?!http)([^)#]+)\)', text)
    paths += re.findall(r'\b((?:tools|configs)/[\w/.]+\.\w+)', text)
    assert len(paths) > 5
    for path in paths:
        assert (repo_root / path).exists(), path
