"""``python -m adaptoff``."""

from adaptoff.cli import main

main()
