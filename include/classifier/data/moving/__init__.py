"""Data that is not the same tomorrow: sources with days, rows with dates, rows of queries."""
