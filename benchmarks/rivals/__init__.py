"""What people serve a classifier with otherwise; benchmarks/serving.py measures against it."""
