"""The lists of an annotation file: images, annotations and categories, each with an id of its own.

Every annotation is of an image and of a category that are listed. What is listed twice is read once; ids that
can be told are repaired, and two entries that nobody can tell apart are refused.
"""

from collections import Counter
from typing import Any

from mmhier.datasets.coco_values import (
    ID_LIMIT,
    CocoFile,
    Names,
    Repairs,
    identity,
    maybe_int,
    pixels,
    short,
)


def repair_images(file: CocoFile, repairs: Repairs) -> dict[int, dict]:
    """Image id -> image."""
    path, images = file.path, file.content['images']
    if not images:
        raise ValueError(f'{path} holds no image: its list of images is empty')
    found: dict[int, dict] = {}
    for index, image in enumerate(images):
        if not isinstance(image, dict):
            raise ValueError(f'{path}: images[{index}] is {short(image)}, expected a mapping')
        number = image.get('id')
        if type(number) is not int or abs(number) >= ID_LIMIT:
            number = image['id'] = identity(number, f'{path}: images[{index}] has the id', repairs)
        name = image.get('file_name')
        if name is not None and (not isinstance(name, str) or not name):
            raise ValueError(f'{path}: image {number} has the file_name {short(name)}, expected a path')
        if name and '\\' in name:
            image['file_name'] = name.replace('\\', '/')
            repairs.note('backslashes in file_name were read as slashes', f'image {number}, {name}')
        for side in ('width', 'height'):
            value = image.get(side)
            if value is None:
                image.pop(side, None)
            elif type(value) is not int or value <= 0:
                image[side] = pixels(value, f'{path}: image {number} has the {side}', repairs)
        if number in found:
            _check_repeated(found[number], image, file.path)
            repairs.note('images listed twice were read once', f'image {number}')
        else:
            found[number] = image
    if len(found) < len(images):
        file.content['images'] = list(found.values())
    return found


def _check_repeated(first: dict, second: dict, path: str) -> None:
    for key in ('file_name', 'width', 'height'):
        if first.get(key) != second.get(key):
            raise ValueError(
                f'{path}: two images have the id {first["id"]}, with {key} {first.get(key)!r} and '
                f'{second.get(key)!r}: nobody can tell whose annotations are whose. Give each its own id'
            )


def repair_identities(file: CocoFile, images: dict[int, dict], repairs: Repairs) -> None:
    """Give every annotation an image that exists and an id of its own."""
    path, annotations = file.path, file.content.get('annotations', [])
    names, seen = Names(annotations), dict[int, int]()
    repeated, problem = set(), ''
    people: dict[tuple, int] = {}  # image and box -> index of the first
    for index, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            raise ValueError(f'{path}: annotations[{index}] is {short(annotation)}, expected a mapping')
        number = annotation.get('image_id')
        if type(number) is not int:
            where = f'{path}: {names[index]} has the image_id'
            number = annotation['image_id'] = identity(number, where, repairs)
        if number not in images:
            unknown = sum(
                maybe_int(one.get('image_id')) not in images for one in annotations if isinstance(one, dict)
            )
            raise ValueError(
                f'{path}: {names[index]} is of image {number}, which is not in the list of images (so are '
                f'{unknown} of {len(annotations)} annotations). Add the images or take these annotations '
                'out, and see whether ids of images count from 0 in one place and from 1 in the other'
            )
        own = annotation.get('id')
        if type(own) is not int or abs(own) >= ID_LIMIT:
            problem = problem or f'entry {index + 1} has the id {short(own)}'
        elif own in seen:
            if annotations[seen[own]] == annotation:
                repeated.add(index)
                repairs.note('annotations listed twice were read once', f'id {own}, entry {index + 1}')
            else:
                problem = problem or f'entries {seen[own] + 1} and {index + 1} have the id {own}'
        else:
            seen[own] = index
        box = annotation.get('bbox')
        if index not in repeated and annotation.get('keypoints') and _is_plain(box):
            first = people.setdefault((number, *box), index)
            if first != index and _is_same_person(annotations[first], annotation):
                repeated.add(index)
                repairs.note('people listed twice were read once', f'{names[index]}, image {number}')
    if repeated:
        annotations[:] = [one for index, one in enumerate(annotations) if index not in repeated]
    if problem:
        for place, annotation in enumerate(annotations, start=1):
            annotation['id'] = place
        repairs.note(
            'ids of annotations are not unique whole numbers; they were numbered by place',
            problem,
            len(annotations),
        )


def _is_plain(box: Any) -> bool:
    return isinstance(box, list) and all(type(value) in (int, float, str) for value in box)


def _is_same_person(one: dict, other: dict) -> bool:
    fields = 'keypoints', 'category_id', 'iscrowd'
    return all(one.get(name) == other.get(name) for name in fields) and any(one['keypoints'])


def repair_categories(file: CocoFile, names: Names, repairs: Repairs) -> None:
    """List every category in use; only those of annotations with keypoints count."""
    path, content = file.path, file.content
    annotations = content.get('annotations', [])
    listed = content.get('categories')
    if listed is not None and (
        not isinstance(listed, list) or not all(isinstance(one, dict) and 'id' in one for one in listed)
    ):
        raise ValueError(
            f'{path}: categories is {short(listed)}, expected a list of mappings with id and name'
        )
    for one in listed or ():
        if type(one['id']) is not int:
            one['id'] = identity(one['id'], f'{path}: category {one.get("name")!r} has the id', repairs)
    known = {one['id']: one for one in reversed(listed or ())}
    if len(known) < len(listed or ()):
        if any(known[one['id']] != one for one in listed):
            double = Counter(one['id'] for one in listed).most_common(1)[0][0]
            raise ValueError(f'{path}: two categories have the id {double}; give every category its own')
        repairs.note('categories listed twice were read once', str(listed[0]['id']))
        content['categories'] = listed = list(known.values())
    used: dict[int | None, int] = {}  # by people with keypoints -> index of the first
    for index, annotation in enumerate(annotations):
        category = annotation.get('category_id')
        if category is not None and type(category) is not int:
            where = f'{path}: {names[index]} has the category_id'
            category = annotation['category_id'] = identity(category, where, repairs)
        if category not in used and (category not in known) and annotation.get('keypoints'):
            used[category] = index
    if not listed:
        people = set(used) - {None}
        if len(people) > 1:
            first, second = sorted(people)[:2]
            raise ValueError(
                f'{path} lists no categories, and its people are of several: {names[used[first]]} is of '
                f'{first}, {names[used[second]]} of {second}. Add categories, such as [{{"id": {first}, '
                '"name": "person"}]'
            )
        person = people.pop() if people else 1
        content['categories'] = [dict(id=person, name='person')]
        if annotations:
            repairs.note(
                f'no categories are listed; {person} was taken for person', names[0], len(annotations)
            )
        if None not in used:
            return
    elif not used:
        return
    else:
        person = listed[0]['id']
        several = len(listed) > 1 or len(used) > 1
        mixed = any(one.get('category_id') in known for one in annotations if one.get('keypoints'))
        stray = next(iter(used))
        if several or (mixed and stray is not None):
            raise ValueError(
                f'{path}: {names[used[stray]]} has the category_id {stray}, categories are '
                f'{sorted(known)}: nobody can tell who is meant. Correct the number or list the category'
            )
    for index, annotation in enumerate(annotations):
        if annotation.get('category_id') in used:
            repairs.note(f'category_id that is not listed was read as {person}', names[index])
            annotation['category_id'] = person
