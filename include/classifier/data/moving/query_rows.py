"""Sources that are queries: Airflow has run them, and their rows lie in the model store."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

from include.classifier.data.problems import DataError, Problems
from include.classifier.data.sources import Source, as_uri
from include.contracts.queries import QUERY, facts_uri, is_name, rows_uri


def stored_rows(
    sources: Iterable[Source], problems: Problems, folder_uri: str | None
) -> tuple[list[Source], dict[str, str]]:
    """Return the sources with the file of its rows in place of each query, and source -> SHA-256 of its SQL.

    :param problems: gathers queries whose rows are not there.
    :param folder_uri: where they lie; ``None``: nobody has run any.
    """
    found: list[Source] = []
    digests: dict[str, str] = {}
    for source in sources:
        if not source.uri.startswith(QUERY):
            found.append(source)
            continue
        name = source.uri.removeprefix(QUERY)
        try:
            source.check_reach()
            digests[source.uri] = _digest(folder_uri, name)
            found.append(replace(source.part(rows_uri(as_uri(folder_uri or ""), name)), named=source.uri))
        except DataError as error:
            problems.take(error)
    return found, digests


def _digest(folder_uri: str | None, name: str) -> str:
    import fsspec

    if not is_name(name):
        raise DataError(
            f"{QUERY}{name}: is no name of a query; `data.queries` in the model's YAML has those there are."
        )
    try:
        if folder_uri is None:
            raise FileNotFoundError
        with fsspec.open(facts_uri(as_uri(folder_uri), name), "rb") as file:
            return str(json.loads(file.read())["query_sha256"])
    except FileNotFoundError:
        raise DataError(
            f"{QUERY}{name}: its rows are not there. Queries of `data.queries` in the model's YAML are run by the task "
            "`query` of a release in Airflow; nothing else runs any."
        ) from None
