"""The run of one task: how it is found again, what is told of it, and what it leaves."""
