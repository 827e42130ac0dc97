"""Engineroom's engine for PyTorch models."""
