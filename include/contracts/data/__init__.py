"""What the data of a text classifier must be, what a data set was, and how it changed."""
