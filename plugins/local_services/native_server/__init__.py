"""Serves packages of text classifiers on one machine with the native server (docs/native-runtime.md)."""
