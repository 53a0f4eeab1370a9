"""One call of cocotb's runner, described on standard input; see :func:`potluck.hdl.build.run_cocotb`."""

import json
import sys


def main() -> None:
    """Read ``{"simulator", "action": "build" | "test", "arguments"}`` and do it; the exit status tells the outcome."""
    from cocotb_tools.runner import get_runner

    order = json.load(sys.stdin)
    try:
        getattr(get_runner(order["simulator"]), order["action"])(**order["arguments"])
    except RuntimeError as error:  # a command failed and has said why
        sys.exit(str(error))


if __name__ == "__main__":
    main()
