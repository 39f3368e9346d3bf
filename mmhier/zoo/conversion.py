"""Files of the registry with mmhier's own names of weights: converted once, and kept beside the file.

What is kept is named after the SHA-256 of its source and after the code that converts, so that another file
or a corrected converter makes another one.
"""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from mmhier.atomic import new_file
from mmhier.compat.checkpoint import load_checkpoint_file
from mmhier.convert import convert_whole_model, unwrap
from mmhier.convert.lightning import read_lightning_checkpoint
from mmhier.digest import code_digest
from mmhier.safe_files import read_json
from mmhier.zoo import cache
from mmhier.zoo.registry import SHIPPED, Weights

# Formats of models that decode keypoints as ViTPose's own code does.
_VITPOSE_CODEC = ('vitpose', 'huggingface')


class Ready(NamedTuple):
    """Weights that fit a config.

    Attributes:
        state_dict: By our names.
        format: What the file was.
        is_vitposes_own: Whether the model wants ``ViTPoseUDPHeatmap`` for its codec.
    """

    state_dict: dict[str, Tensor]
    format: str

    @property
    def is_vitposes_own(self) -> bool:
        """See the class."""
        return self.format in _VITPOSE_CODEC


def convert_model_file(path: str | Path) -> Ready:
    """Read the weights of a whole pose or mesh model of another project.

    Args:
        path: ViTPose (of its authors, MMPose or Hugging Face), HMR2.0 or SMPLer-X. Nothing in it is executed.

    Raises:
        ValueError: If it is damaged, or none of these.
    """
    is_lightning = Path(path).suffix == '.ckpt'
    read = read_lightning_checkpoint if is_lightning else load_checkpoint_file
    return convert_model(read(path), str(path))


def convert_model(checkpoint: Mapping, source: str) -> Ready:
    """The same for what has been read; ``source`` is for messages."""
    weights = unwrap(checkpoint, source)
    # Of ViTPose+ people want the expert of COCO, the only one whose decoder every file has.
    dataset = 'coco' if any('.mlp.experts.' in key for key in weights) else None
    found = convert_whole_model(weights, dataset, source)
    return Ready({key: value.contiguous() for key, value in found.state_dict.items()}, found.format)


def converted(entry: Weights, path: Path) -> Ready:
    """The weights of an entry's file, from what was kept of an earlier conversion if there is one.

    Those that are part of the package have our names already.

    Raises:
        ValueError: If the file is damaged or not what the registry says.
    """
    from safetensors.torch import save_file

    if path.parent == SHIPPED:
        return Ready(load_checkpoint_file(path), 'mmhier')
    kept = kept_path(entry, path)
    with contextlib.suppress(OSError, ValueError):  # none, or damaged: it is made anew
        about = read_json(kept.with_suffix('.json'))
        if about['bytes'] == kept.stat().st_size and about['sha256'] == cache.sha256_of(kept):
            return Ready(load_checkpoint_file(kept), about['format'])
    ready = convert_model_file(path)
    with contextlib.suppress(OSError):  # a cache that cannot be written to; the weights are here all the same
        with new_file(kept) as part:
            save_file(ready.state_dict, part)
        about = dict(format=ready.format, bytes=kept.stat().st_size, sha256=cache.sha256_of(kept, again=True))
        with new_file(kept.with_suffix('.json')) as part:
            part.write_text(json.dumps(about) + '\n', encoding='utf-8')
    return ready


def kept_path(entry: Weights, path: Path) -> Path:
    """Where the conversion of a file is kept."""
    receipt = cache.read_receipt(path)
    sha256 = receipt.sha256 if receipt else cache.sha256_of(path)
    name = f'converted_{sha256[:16]}_{code_digest("mmhier.convert")}.safetensors'
    return cache.folder_of(entry) / name
