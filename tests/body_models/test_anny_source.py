import numpy as np

from mmhier.body_models.anny_source import phenotype_coefficients


def one(**values):
    base = {name: 0.5 for name in ('gender', 'age', 'muscle', 'weight', 'height', 'proportions')}
    phenotypes = {name: np.array([value]) for name, value in {**base, **values}.items() if name != 'origin'}
    phenotypes['origin'] = np.array([values.get('origin', [1 / 3] * 3)])
    return phenotypes


def test_corner_phenotypes_select_one_target():
    terms = [('male', 'old', 'maxmuscle'), ('male', 'young', 'maxmuscle'), ('female', 'old', 'maxmuscle')]
    np.testing.assert_allclose(
        phenotype_coefficients(one(gender=1.0, age=1.0, muscle=1.0), terms), [[1, 0, 0]]
    )


def test_interpolates_between_neighbours():
    terms = [
        ('minweight',),
        ('averageweight',),
        ('maxweight',),
        ('minheight', 'asian'),
        ('maxheight', 'asian'),
    ]
    found = phenotype_coefficients(one(weight=0.75, height=0.25, origin=[0.0, 1.0, 0.0]), terms)
    np.testing.assert_allclose(found, [[0, 0.5, 0.5, 0.75, 0.25]])
