"""Causal neighbourhood of a pixel in lossless coding: the pixels above and to the left that predict it.

. . # # # .
. # # # # #
# # # # # .
# # # o          # context pixels (NEIGHBOURS), o the pixel that is predicted
"""

PLANES = 3
"""Colour planes, coded one after another at each pixel."""
LAG = 2
"""Pixels by which a row follows the row above, where both are coded at once (components.entropy.pixels.wavefront)."""
NEIGHBOURS = tuple(
    (up, left)
    for up, (first, last) in enumerate(((1, 3), (-1, 3), (-2, 2), (-1, 1)))
    for left in range(first, last + 1)
)
"""(rows up, pixels left) of the context pixels."""
NEAREST = ((0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0))
"""The context pixels whose prediction errors say what error to expect."""
LEFT, ABOVE = NEIGHBOURS.index((0, 1)), NEIGHBOURS.index((1, 0))
"""Indices of the pixel to the left and of the pixel above."""
REACH_UP = max(up for up, _ in NEIGHBOURS)
REACH_LEFT = max(left for _, left in NEIGHBOURS)
REACH_RIGHT = max(-left for _, left in NEIGHBOURS)

assert all(LAG * up + left > 0 for up, left in NEIGHBOURS)  # every context pixel lies on an earlier front
