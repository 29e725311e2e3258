"""Releases of models, safely: from candidate to live and back."""
