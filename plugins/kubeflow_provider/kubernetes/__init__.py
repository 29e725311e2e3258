"""Pods: what is asked of them, and what goes wrong with them."""
