"""Captures requests and answers beside a server: never in a request's way, and bounded in memory and on disk."""
