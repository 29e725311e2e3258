"""Records what servers answer, and compares the shapes of two records: how the doubles are held to the real thing."""
