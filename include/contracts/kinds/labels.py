"""What stands in a label column, and what names it in a model's YAML."""

from __future__ import annotations

import unicodedata
from typing import Any


def label_text(value: object) -> str:
    """Return the text by which a value of the label column is compared."""
    return unicodedata.normalize("NFC", str(value)).strip()


def read_label(value: Any) -> str:
    """Return a label as a YAML file has it.

    :raises ValueError: when nobody can tell any more how it was written.
    """
    # True may have been written yes, on or True; 1.1 may have been 1.10.
    if not isinstance(value, str | int) or isinstance(value, bool) or not label_text(value):
        raise ValueError("labels: put labels in quotation marks that are no plain words or whole numbers")
    return str(value)
