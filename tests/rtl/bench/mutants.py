"""Files with a bug put in by a patch."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from potluck.hdl.sources import rtl_directory


def mutated(patch: Path, folder: Path) -> dict[str, Path]:
    """The patched file, by unit."""
    target = next(line[6:].strip() for line in patch.read_text().splitlines() if line.startswith("+++ b/"))
    copy = folder / target
    copy.parent.mkdir(parents=True)
    shutil.copy(rtl_directory().parent / target, copy)
    # Git must not take the folder for part of a repository around it.
    environment = {"GIT_CEILING_DIRECTORIES": str(folder.parent), "PATH": "/usr/bin:/bin"}
    command = ["git", "apply", "--verbose", str(patch)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{patch.name} does not apply; make it anew: {done.stderr}"
    assert copy.read_bytes() != (rtl_directory().parent / target).read_bytes()
    return {copy.stem: copy}
