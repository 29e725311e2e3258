"""Training rows that are more than the memory holds: tokenised once into files, and read back in any order."""
