"""What a compiled pipeline says, and what a cluster wants changed in it."""
