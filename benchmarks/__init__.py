"""Speed and memory of ipyjobs beside executor-engine and the floors: ``python -m benchmarks``."""
