"""A server for each version, in a process of its own, and a router before them: for servers of any sort."""
