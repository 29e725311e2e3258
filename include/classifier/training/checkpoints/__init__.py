"""What a training leaves in the model store, so that another process or node goes on with it."""
