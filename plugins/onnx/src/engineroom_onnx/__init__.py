"""Engineroom's engine for ONNX models, on ONNX Runtime."""
