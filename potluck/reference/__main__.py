"""``python -m potluck.reference FOLDER``."""

import sys
from pathlib import Path

from potluck.reference import write

for path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "reference")):
    print(path)
