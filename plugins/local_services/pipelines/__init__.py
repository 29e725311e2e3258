"""Kubeflow pipelines on this machine: kfp.local in processes of their own."""
