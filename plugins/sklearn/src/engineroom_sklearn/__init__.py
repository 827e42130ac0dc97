"""Engineroom's engine for scikit-learn and XGBoost models."""
