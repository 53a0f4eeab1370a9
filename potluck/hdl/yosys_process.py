"""Yosys passes, a JSON list on standard input; see :func:`potluck.hdl.yosys.run_yosys`."""

import json
import sys


def main() -> None:
    """Run them on one design; a pass that fails ends the process."""
    from pyosys import libyosys

    design = libyosys.Design()
    for step in json.load(sys.stdin):
        libyosys.run_pass(step, design)


if __name__ == "__main__":
    main()
