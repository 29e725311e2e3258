"""Queries that Airflow runs for a release: ``data.queries`` of a model's YAML, and the sources that name them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import Field

from include.contracts.section import Section

#: How a source names a query; nowhere else than in a model's YAML can one be written.
QUERY = "query:"

_NAME = r"^[a-z][a-z0-9_-]{0,62}$"
QueryName = Annotated[str, Field(pattern=_NAME)]


class QueryConfig(Section):
    """A query whose rows are a source."""

    connection: Annotated[str, Field(min_length=1)] = Field(
        description="Airflow connection of a database whose provider is installed."
    )
    query: Annotated[str, Field(min_length=1)] = Field(
        description="SQL whose columns are called as `text_column`, `label_column` and `date_column` say."
    )
    max_rows: Annotated[int, Field(ge=1)] = Field(10_000_000, description="More rows than this are refused.")


def query_names(sources: Iterable[str]) -> list[str]:
    """Return the queries that sources name, each once."""
    return list(dict.fromkeys(source.removeprefix(QUERY) for source in sources if source.startswith(QUERY)))


def is_name(text: str) -> bool:
    """Tell whether something can be the name of a query, and so of a file."""
    return re.fullmatch(_NAME, text) is not None


def rows_uri(folder_uri: str, name: str) -> str:
    """Return where the rows of a query lie: JSON Lines."""
    return f"{folder_uri}/{name}.jsonl"


def facts_uri(folder_uri: str, name: str) -> str:
    """Return where it is said what they are, written last: ``{"query_sha256": …, "rows": …}``."""
    return f"{folder_uri}/{name}.json"
