"""What a run needs from elsewhere: fetched once, before there are workers who would all do it."""

from pathlib import Path
from typing import Any

from mmhier.detection import load_detector
from mmhier.detection.detector import WholeImage
from mmhier.inference.engine_network import exported_config, is_file
from mmhier.safe_files import file_sha256
from mmhier.zoo.choice import AUTO, DEFAULT_DETECTOR, choose_weights
from mmhier.zoo.conversion import converted
from mmhier.zoo.names import resolve_config


def fetch_weights(model: str | None, weights: str | None, engine: str) -> str | None:
    """Weights as :func:`mmhier.inference.estimators.load_estimator` takes them, of which nothing is missing.

    Args:
        model: Name of the model, or its config.
        weights: As of :func:`mmhier.zoo.choice.choose_weights`.
        engine: An exported file has its own, and needs none.

    Raises:
        FileNotFoundError: If there are none.
        ValueError: If they are of something else.
        OSError: If they cannot be fetched.
    """
    if weights is None and is_file(engine):
        return None
    config = exported_config(engine) if model is None else resolve_config(model)
    place, entry = choose_weights(config, weights)
    if entry is not None:
        converted(entry, Path(place))
        return entry.name
    if '://' in str(place):
        from mmengine.runner.checkpoint import _load_checkpoint

        _load_checkpoint(str(place), map_location='cpu', logger='silent')
    return str(place)


def fetch_detector(detector: str | None, threshold: float) -> str:
    """The same of a detector; the default one becomes the one that it is for all workers.

    Raises:
        OSError: If it cannot be fetched.
        ImportError: If its library is missing.
        ValueError: If there is no such detector.
    """
    found = load_detector(AUTO if detector is None else detector, threshold)
    if detector not in (None, AUTO):
        return detector
    return 'whole_image' if isinstance(found, WholeImage) else DEFAULT_DETECTOR


def identity(name: Any) -> Any:
    """What tells files apart of which the name may stay: their SHA-256; other values as they are."""
    if isinstance(name, str) and Path(name).is_file():
        return f'{Path(name).name}, SHA-256 {file_sha256(name)}'
    return name
