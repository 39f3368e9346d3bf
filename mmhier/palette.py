"""Colours of bodies, in pictures and in files for artists alike: BGR, 0 to 255, gamma-encoded (sRGB)."""

import numpy as np

BODY_BLUE = (222, 181, 137)
# Bodies of one person each, then from the start again.
PALETTE = np.array(
    [
        BODY_BLUE,
        (125, 152, 236),  # coral
        (144, 196, 152),  # sage
        (113, 199, 240),  # sand
        (214, 160, 186),  # lilac
        (180, 190, 108),  # teal
        (171, 160, 240),  # rose
        (170, 175, 180),  # stone
    ],
    np.float32,
)
