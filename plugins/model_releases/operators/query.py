"""Runs the queries that a release reads, and puts their rows where preprocessing finds them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import date, time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from include.contracts.queries import QueryConfig, facts_uri, rows_uri
from include.contracts.version.files import new_file, reason_of, write_file
from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError, ServiceUnavailableError
from model_releases.operators.base import ReleaseStep

if TYPE_CHECKING:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import Context, ObjectStoragePath

#: So many rows are in memory at once, as far as the database's driver is asked.
_BATCH_ROWS = 5_000
#: Errors of every driver (PEP 249) that another try would end with as well.
_HOPELESS = {"ProgrammingError", "NotSupportedError"}


class QueryOperator(ReleaseStep):
    """Run queries over Airflow connections of databases, and write their rows as JSON Lines into the version's folder.

    What leads to a database stays here: the pipeline half gets the rows. Neither the query nor a text of the rows, nor
    what a driver says of them, is ever logged.

    :param queries: section ``data.queries`` of the model's YAML.
    :param columns: those of the result that are written; it must have them.
    :param date_column: one more that is written where the result has it.
    :param names: the queries that are needed, with commas between; empty: none (templated).
    :param folder_uri: where the rows are to lie (templated).
    :raises InvalidRequestError: when a query can never work as it stands, or gives no rows or too many.
    :raises ServiceUnavailableError: when the database or the store does not do what it is asked.
    """

    template_fields = (*ReleaseStep.template_fields, "names", "folder_uri")

    def __init__(
        self,
        *,
        queries: Mapping[str, QueryConfig],
        columns: Sequence[str],
        names: str,
        folder_uri: str,
        date_column: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.queries = queries
        self.columns = columns
        self.date_column = date_column
        self.names = names
        self.folder_uri = folder_uri

    def execute(self, context: Context) -> None:
        for name in filter(None, self.names.split(",")):
            if name not in self.queries:
                known = ", ".join(self.queries)
                raise InvalidRequestError(f"data.queries has no {name!r}; there are: {known}.")
            rows = self._write(name, self.queries[name])
            self.log.info("Query %s: %s rows over connection %s.", name, f"{rows:,}", self.queries[name].connection)

    def _write(self, name: str, query: QueryConfig) -> int:
        """Write the rows, and then what vouches for them; return how many there are."""
        path, facts = self._path(rows_uri(self.folder_uri, name)), self._path(facts_uri(self.folder_uri, name))
        count = 0
        try:
            facts.unlink(missing_ok=True)  # or a try that breaks off would look finished
            with new_file(path.fs, path.path) as file:
                for rows in self._batches(name, query):
                    count += len(rows)
                    if count > query.max_rows:
                        raise InvalidRequestError(
                            f"Query {name!r} gives more than {query.max_rows:,} rows. Let it ask for fewer, or raise "
                            f"`max_rows` in data.queries.{name}."
                        )
                    file.write("".join(f"{json.dumps(row)}\n" for row in rows).encode())
            if not count:
                raise InvalidRequestError(f"Query {name!r} gives no rows: there is nothing to train on.")
            digest = hashlib.sha256(query.query.encode()).hexdigest()
            write_file(facts.fs, facts.path, json.dumps({"query_sha256": digest, "rows": count}).encode())
        except OSError as error:
            raise ServiceUnavailableError(f"{path.parent} cannot be written: {reason_of(error)}.") from error
        return count

    def _batches(self, name: str, query: QueryConfig) -> Iterator[list[dict[str, Any]]]:
        hook = _hook(query.connection)
        try:
            with closing(hook.get_conn()) as connection, closing(connection.cursor()) as cursor:
                cursor.execute(query.query)
                found = [str(column[0]) for column in cursor.description or ()]
                positions = self._positions(name, found)
                while rows := cursor.fetchmany(_BATCH_ROWS):
                    yield [{column: _plain(row[index]) for column, index in positions.items()} for row in rows]
        except KubeflowProviderError:
            raise
        except Exception as error:  # each driver has its own
            raise _failed(name, query.connection, error) from None  # a traceback would show what the driver says

    def _positions(self, name: str, found: Sequence[str]) -> dict[str, int]:
        """Return where each column stands in the result."""
        wanted = [*self.columns, *([self.date_column] if self.date_column else [])]
        positions = {column: position for column in wanted if (position := _position(column, found)) is not None}
        if missing := [column for column in self.columns if column not in positions]:
            raise InvalidRequestError(
                f"Query {name!r} gives no column {', '.join(map(repr, missing))}; there are: "
                f"{', '.join(map(repr, found)) or 'none'}. Name them so with AS, or set text_column and label_column."
            )
        return positions

    def _path(self, uri: str) -> ObjectStoragePath:
        from airflow.sdk import ObjectStoragePath

        return ObjectStoragePath(uri, conn_id=self.store_conn_id or None)


def _hook(conn_id: str) -> DbApiHook:
    from airflow.providers.common.sql.hooks.sql import DbApiHook
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowException

    try:
        connection = BaseHook.get_connection(conn_id)
        hook = connection.get_hook()
    except (AirflowException, ImportError) as error:
        raise InvalidRequestError(
            f"Connection {conn_id!r} leads to no database ({type(error).__name__}). Define it, and install the Airflow "
            "provider of its type."
        ) from None
    if not isinstance(hook, DbApiHook):
        raise InvalidRequestError(f"Connection {conn_id!r} is of type {connection.conn_type!r}, which runs no SQL.")
    return hook


def _position(column: str, found: Sequence[str]) -> int | None:
    """Return where a column stands; databases change upper and lower case as they like."""
    if column in found:
        return found.index(column)
    folded = [name.casefold() for name in found]
    return folded.index(column.casefold()) if folded.count(column.casefold()) == 1 else None


def _plain(value: Any) -> Any:
    """Return a value as JSON has it; what it has no type for as its text."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, date | time):  # and times with a date
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode()
    return str(value)


def _failed(name: str, conn_id: str, error: Exception) -> KubeflowProviderError:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    text = (
        f"Query {name!r} over connection {conn_id!r} failed with {type(error).__name__}"
        f"{f' (SQLSTATE {state})' if state else ''}. What the database says may hold texts and is not shown: run the "
        "query by another client to see it."
    )
    return InvalidRequestError(text) if kinds & _HOPELESS else ServiceUnavailableError(text)
