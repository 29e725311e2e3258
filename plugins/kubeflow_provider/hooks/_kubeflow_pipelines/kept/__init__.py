"""What the server keeps, besides runs that go on."""
