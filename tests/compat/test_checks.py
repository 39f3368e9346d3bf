"""What is tried of the stack does work, and what is wrong is noticed."""

import pytest

from mmhier.compat import checks
from mmhier.parts import Problem, look_at


def test_all_of_them_work_here():
    """Tests run only where they do."""
    for part in checks.REQUIRED:
        found = look_at(part)
        assert found.state == 'ok', found


def test_rivals(monkeypatch):
    monkeypatch.setattr(checks, 'version_of', lambda name: '1.0' if name in ('mmcv', 'mmcv-lite') else None)
    with pytest.raises(Problem, match='mmcv and mmcv-lite overwrite each other'):
        checks._rivals()


def test_a_wrong_coco_evaluation_is_noticed(monkeypatch):
    from xtcocotools.cocoeval import COCOeval

    monkeypatch.setattr(COCOeval, 'summarize', lambda self: setattr(self, 'stats', [0.5]))
    with pytest.raises(Problem, match=r'0\.5, not 1'):
        checks._coco()


def test_trust_is_reported(monkeypatch):
    monkeypatch.delenv('MMHIER_TRUST_CHECKPOINT', raising=False)
    assert 'without executing' in checks._checkpoints()
    monkeypatch.setenv('MMHIER_TRUST_CHECKPOINT', '1')
    assert 'WITHOUT protection' in checks._checkpoints()
