"""Engineroom's engine for MindSpore: MindIR files, and scripts that load checkpoints."""
