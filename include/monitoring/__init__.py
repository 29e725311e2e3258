"""What users send after a release, compared with what the model was made of; and labels that arrive later."""
