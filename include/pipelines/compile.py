"""Compiles the pipelines to their IR, a YAML file beside each definition.

``python -m include.pipelines.compile`` remakes them, ``--check`` exits with 1 when one is stale.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent

#: Modules of this package; each has a pipeline function of the same name.
PIPELINES = ("train_classifier", "release_in_kubeflow", "batch_predict", "search_classifier", "preprocess_in_parts")

#: Default of a dict in the comment at the top: kfp prints its keys in an order that differs from process to process.
_UNORDERED = re.compile(r"(?<=: dict) \[Default: \{.+\}\]$", re.MULTILINE)


def compiled(name: str) -> str:
    """Return the IR of a pipeline. The same definition and kfp version give the same text."""
    from importlib import import_module

    from kfp import compiler

    pipeline = getattr(import_module(f"include.pipelines.{name}"), name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.yaml")
        compiler.Compiler().compile(pipeline, str(path))
        return _UNORDERED.sub("", path.read_text(encoding="utf-8"))


def stale() -> list[Path]:
    """Return the IR files that their definitions would not compile to."""
    return [path for name in PIPELINES if not _is_current(path := FOLDER / f"{name}.yaml", compiled(name))]


def _is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text


def main(arguments: list[str] | None = None) -> int:
    """Compile, or check."""
    parser = argparse.ArgumentParser(prog="python -m include.pipelines.compile", description="Compiles the pipelines.")
    parser.add_argument("--check", action="store_true", help="write nothing, exit with 1 when a file is stale")
    if parser.parse_args(arguments).check:
        for path in (found := stale()):
            print(f"{path.relative_to(FOLDER.parent.parent)} is stale: run `make compile`.", file=sys.stderr)
        return 1 if found else 0
    for name in PIPELINES:
        path = FOLDER / f"{name}.yaml"
        path.write_text(compiled(name), encoding="utf-8")
        print(f"Compiled {path.relative_to(FOLDER.parent.parent)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
