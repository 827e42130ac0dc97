"""``python -m engineroom``."""

from engineroom.cli import main

main()
