"""What stands in the texts of a data set, without saying any of it."""
