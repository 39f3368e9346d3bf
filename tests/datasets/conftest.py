"""A small annotation file with its pictures, for the tests that spoil one."""

import copy
import json

import pytest

from mmhier.datasets import coco_values
from mmhier.testing import write_dot_people


@pytest.fixture(scope='module')
def people(tmp_path_factory):
    folder = tmp_path_factory.mktemp('people')
    return folder, json.loads(write_dot_people(folder, 'val', 4).read_text())


@pytest.fixture
def folder(people):
    """Holds annotations/ and images/val/."""
    return people[0]


@pytest.fixture
def content(people, monkeypatch):
    """Of the annotation file, to change and to write; what was said of other files may be said again."""
    monkeypatch.setattr(coco_values, '_said', set())
    return copy.deepcopy(people[1])
