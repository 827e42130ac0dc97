"""Engineroom's engine for Spark ML pipelines, on PySpark."""
