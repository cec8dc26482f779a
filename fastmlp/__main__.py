"""``python -m fastmlp``: the command line without the installed script."""

from fastmlp.cli import main

main()
