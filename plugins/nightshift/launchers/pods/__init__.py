"""Commands in pods of Kubernetes: what a pod looks like, how it is watched, and what follows from its end."""
