"""What waits for the model, what goes through it at once, and what computes it: of several requests, fairly."""
