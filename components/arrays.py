"""Types of arrays."""

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
"""A picture: (H, W, 3) uint8, red, green, blue."""
