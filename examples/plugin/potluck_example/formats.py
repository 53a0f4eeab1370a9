"""FP8 with three exponent bits, as IEEE 754 would have it."""

import ml_dtypes
import numpy as np

from potluck.isa.formats.elements import ElementFormat

E3M4 = ElementFormat("E3M4", 8, 3, 4, 3, 3, 15.5, True, "ieee", np.dtype(ml_dtypes.float8_e3m4), "UNDEFINED")
