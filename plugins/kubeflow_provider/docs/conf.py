"""How Sphinx builds the provider's documentation: ``make provider-docs``, where every warning is an error."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).parent.parent
_PROJECT = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = _PROJECT["name"]
author = "The authors of airflow-provider-kubeflow"
project_copyright = f"{author}. Apache 2.0"
release = version = _PROJECT["version"]

extensions = ["myst_parser", "autoapi.extension", "sphinx_copybutton"]
exclude_patterns = ["requirements.*"]
html_theme = "furo"
html_title = f"Kubeflow for Airflow {release}"
#: A prompt is no part of a command that is copied.
copybutton_prompt_text = "$ "

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

# The API reference is read from the source, so that neither Airflow nor a database has to be there.
autoapi_dirs = [str(PACKAGE)]
autoapi_root = "api"
autoapi_ignore = [str(PACKAGE / left_out) for left_out in ("_moved/*", "docs/*", "example_dags/*")]
autoapi_options = ["members", "inherited-members", "show-module-summary"]
autoapi_member_order = "bysource"
autoapi_own_page_level = "module"
autoapi_add_toctree_entry = False
# Where Airflow keeps a name depends on its version, which nobody knows who only reads.
suppress_warnings = ["autoapi.python_import_resolution"]


def _skip(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool:
    """Leave out what is private, itself or what it is in; keep a package that says nothing of itself."""
    if any(part.startswith("_") or part == "compat" for part in name.split(".")):
        return True
    return skip and what not in ("module", "package")


def setup(app: Any) -> None:
    """Called by Sphinx."""
    app.connect("autoapi-skip-member", _skip)
