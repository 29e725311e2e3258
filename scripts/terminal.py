"""What is printed fits every terminal."""

from __future__ import annotations

import codecs
import io
import locale
import os
import sys


def fit_terminal() -> None:
    """Print what the terminal cannot show as question marks, here and in what is started at the same terminal."""
    given = os.environ.get("PYTHONIOENCODING", "").partition(":")[0]
    encoding = given or locale.getencoding()
    if not given and codecs.lookup(encoding).name == "ascii":
        encoding = "utf-8"  # the locale C says nothing of the terminal (PEP 538)
    os.environ["PYTHONIOENCODING"] = f"{encoding}:replace"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=encoding, errors="replace")
