"""Everything of ours against a cluster of yours, and a table of what held: ``tests/real/run.sh``."""
