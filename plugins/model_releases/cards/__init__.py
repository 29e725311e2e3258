"""What people read of a release."""
