"""The objective of SMPLer-X written out, one person and one point at a time, in plain Python.

Terms, weights and reductions are those of arXiv 2309.17448's released configuration for 32 data sets. Points:
25 of the body, 20 of each hand, 72 of the face; 12 x 16 cells of 16 pixels; 16 x 16 cells in a hand's box.
"""

WEIGHTS = {
    'pose': 10, 'betas': 1, 'expression': 1, 'joints_3d': 100, 'body_joints_3d': 100, 'left_hand_box': 1,
    'right_hand_box': 1, 'face_box': 1, 'joints_2d': 1, 'points': 1, 'body_points': 1,
}  # fmt: skip
HANDS = {0: range(25, 45), 1: range(45, 65)}
FACE = range(65, 137)
WRISTS_AND_NECK = ((12, HANDS[0]), (13, HANDS[1]), (7, FACE))


def objective(predicted, joints, target, to_hands=True):
    """Loss -> value, for lists of numbers with a row per person."""
    people = [one_person(predicted, joints, target, person, to_hands) for person in range(len(joints))]
    terms = {name: [number for person in people for number in person[name]] for name in WEIGHTS}
    for index, part in enumerate(('left_hand', 'right_hand', 'face')):
        if not any(valid[index] for valid in target['box_valid']):
            del terms[f'{part}_box']
    return {name: WEIGHTS[name] * sum(numbers) / len(numbers) for name, numbers in terms.items()}


def one_person(predicted, joints, target, person, to_hands):
    own = {name: values[person] for name, values in target.items()}
    said = {name: values[person] for name, values in predicted.items()}
    joints = joints[person]
    terms = {}
    terms['pose'] = [abs(a - b) * v for a, b, v in zip(said['pose'], own['pose'], own['pose_valid'])]
    for name in ('betas', 'expression'):
        terms[name] = [abs(a - b) * own[f'{name}_valid'] for a, b in zip(said[name], own[name])]
    rooted = [[joint[axis] - joints[0][axis] for axis in range(3)] for joint in joints]
    in_parts = [list(joint) for joint in rooted]
    for root, part in WRISTS_AND_NECK:
        for k in part:
            in_parts[k] = [rooted[k][axis] - rooted[root][axis] for axis in range(3)]
    terms['joints_3d'] = [
        abs(rooted[k][axis] - own['joints_3d'][k][axis]) * own['joints_3d_valid'][k] * own['has_depth']
        for k in range(137) for axis in range(3)
    ]  # fmt: skip
    terms['body_joints_3d'] = [
        abs(in_parts[k][axis] - own['body_joints_3d'][k][axis]) * own['body_joints_3d_valid'][k]
        for k in range(137) for axis in range(3)
    ]  # fmt: skip
    for index, part in enumerate(('left_hand', 'right_hand', 'face')):
        terms[f'{part}_box'] = [
            (
                abs(said['box_centers'][index][axis] - own['box_centers'][index][axis])
                + abs(said['box_sizes'][index][axis] - own['box_sizes'][index][axis])
            )
            * own['box_valid'][index]
            for axis in range(2)
        ]
    projected = [
        [
            (5000 * joint[axis] / (joint[2] + 1e-4) + (96, 128)[axis]) / 16
            for axis in range(2)
        ]
        for joint in joints
    ]  # fmt: skip
    points, valid = [list(point) for point in own['points']], list(own['points_valid'])
    body_points, body_valid = [list(point) for point in own['body_points']], list(own['body_points_valid'])
    if to_hands:
        for index, hand in HANDS.items():
            box = said['boxes'][index]
            for k in hand:
                for some, flags in ((points, valid), (body_points, body_valid)):
                    some[k] = [*in_box(some[k], box), some[k][2] * 16 / 16]
                    if not (0 <= some[k][0] < 16 and 0 <= some[k][1] < 16):
                        flags[k] = 0
                projected[k] = in_box(projected[k], box)
            move(projected, points, valid, hand)
    if any(flags[2] for flags in target['box_valid']):
        move(projected, points, valid, FACE)
    terms['joints_2d'] = [
        abs(projected[k][axis] - points[k][axis]) * valid[k] for k in range(137) for axis in range(2)
    ]
    terms['points'] = [
        abs(said['points'][k][axis] - points[k][axis]) * valid[k] * (own['has_depth'] if axis == 2 else 1)
        for k in range(65) for axis in range(3)
    ]  # fmt: skip
    terms['body_points'] = [
        abs(said['points'][k][axis] - body_points[k][axis]) * body_valid[k]
        for k in range(65) for axis in range(3)
    ]  # fmt: skip
    return terms


def in_box(point, box):
    """Cells of the hand's grid of cells of the map; the box is in pixels."""
    return [
        (point[axis] - box[axis] / 16) * 16 / (box[axis + 2] / 16 - box[axis] / 16) for axis in range(2)
    ]  # fmt: skip


def move(projected, points, valid, part):
    """Bring the mean of a part's valid points to that of their targets."""
    used = [k for k in part if valid[k] == 1]
    for axis in range(2):
        offset = sum(points[k][axis] - projected[k][axis] for k in used) / len(used) if used else 0.0
        for k in part:
            projected[k][axis] += offset
