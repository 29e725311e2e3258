"""What is kept of the requests that users send, so that drift can be seen: settings, files, features."""
