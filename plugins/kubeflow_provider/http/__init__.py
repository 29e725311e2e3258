"""What the HTTP client is made of: settings, answers read as errors, and silence about secrets."""
