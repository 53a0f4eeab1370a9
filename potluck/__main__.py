"""``python -m potluck``: the command line."""

from potluck.cli import main

main()
