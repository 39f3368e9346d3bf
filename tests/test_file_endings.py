"""There is one list of picture endings, and everybody has it."""

import ast
from pathlib import Path

import mmhier
from mmhier.file_endings import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_video

# Members of HMR2.0's tars, whose format names these three.
OWN = {'mmhier/file_endings.py', 'mmhier/datasets/mesh/shard.py'}


def test_pictures_are_no_videos():
    assert not IMAGE_SUFFIXES & VIDEO_SUFFIXES
    assert is_video('A.MP4') and not is_video('A.JPG') and not is_video('camera 0')


def test_no_other_list_of_picture_endings():
    """No other module has a collection of strings with .jpg and .bmp, or the like, in it."""
    root, read = Path(mmhier.__file__).parents[1], 0
    for path in sorted((root / 'mmhier').rglob('*.py')):
        name = path.relative_to(root).as_posix()
        read += 1
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Tuple | ast.List | ast.Set):
                texts = {str(getattr(one, 'value', '')).lstrip('.') for one in node.elts}
                listed = texts & {suffix[1:] for suffix in IMAGE_SUFFIXES}
                assert name in OWN or len(listed) < 3, f'{name}:{node.lineno} lists {sorted(listed)}'
    assert read > 100
