"""The sample workload."""
