"""What both halves say to each other of a batch prediction."""
