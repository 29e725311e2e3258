"""What a step asks of the cluster whose pod it runs in, for work that goes on in other pods than its own."""
