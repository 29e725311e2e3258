"""Packs a trained model for its server, and tries it there."""
