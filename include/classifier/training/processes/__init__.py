"""One training in several processes of a machine: started, told of each other, and given their shares of each step."""
