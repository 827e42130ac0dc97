"""What is in the lent modules, but for parent classes: see :mod:`engineroom.surface`."""
