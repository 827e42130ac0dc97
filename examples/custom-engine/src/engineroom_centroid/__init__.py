"""An engine for Engineroom: nearest-centroid classifiers."""
