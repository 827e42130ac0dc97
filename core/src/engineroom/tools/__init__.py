"""What only authors of packages need; not imported to serve."""
