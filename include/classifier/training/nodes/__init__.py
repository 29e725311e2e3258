"""One training over several nodes of a cluster: pods that Kubeflow's Trainer starts; docs/training-over-nodes.md."""
