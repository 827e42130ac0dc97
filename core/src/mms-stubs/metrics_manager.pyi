from metric.metrics_manager import MetricsManager as MetricsManager
