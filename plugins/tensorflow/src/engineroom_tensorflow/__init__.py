"""Engineroom's engine for TensorFlow: SavedModels, Keras files and frozen graphs."""
