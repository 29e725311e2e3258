"""Fine-tunes an encoder on the data set."""
