"""What a version is, who has it, what it may hold, and what was judged of it."""
