"""Pictures of a folder, and of the folders in it, without labels: ImageNet's layout, or any other."""

import os
from pathlib import Path

from mmengine.dataset import BaseDataset
from mmpose.registry import DATASETS

from mmhier.file_endings import IMAGE_SUFFIXES


@DATASETS.register_module()
class PictureFolder(BaseDataset):
    """A data set of all pictures below ``data_root`` + ``data_prefix['img']``, in the order of their paths.

    Arguments are those of MMEngine's ``BaseDataset``; there is no annotation file. Pictures are known by the
    endings of their names, and opened by the pipeline.
    """

    def load_data_list(self) -> list[dict]:
        """List the pictures: ``img_path`` and ``img_id`` of each.

        Raises:
            FileNotFoundError: If there is no such folder.
            ValueError: If there are no pictures in it.
        """
        folder = Path(self.data_prefix.get('img') or self.data_root or '.')
        if not folder.is_dir():
            raise FileNotFoundError(f'{folder} is no folder of pictures: set data_root and data_prefix.img')
        found = sorted(
            os.path.join(place, name)
            for place, _, names in os.walk(folder, followlinks=True)
            for name in names
            if Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith('.')
        )
        if not found:
            raise ValueError(
                f'{folder} and the folders in it hold no picture ({" ".join(sorted(IMAGE_SUFFIXES))})'
            )
        return [dict(img_path=path, img_id=number) for number, path in enumerate(found)]
