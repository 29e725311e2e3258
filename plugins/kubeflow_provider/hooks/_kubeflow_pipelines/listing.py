"""Reads lists of runs, and of recurring runs, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kubeflow_provider.hooks._kubeflow_pipelines import api
from kubeflow_provider.http.client import HttpClient


def list_documents(
    client: HttpClient,
    scope: Mapping[str, str | None],
    *,
    filter: str | None,
    limit: int | None = None,
    ask: Callable[..., api.Call] = api.list_runs,
    key: str = "runs",
) -> Iterator[dict[str, Any]]:
    """Yield the documents of runs, the newest first.

    :param scope: ``namespace`` or ``experiment_id``.
    :param filter: see :func:`~kubeflow_provider.hooks._kubeflow_pipelines.api.where`; ``None`` for all.
    :param limit: at most so many.
    :param ask: makes the call for a page.
    :param key: what the answer calls the documents.
    """
    token = None
    left = limit
    while left is None or left > 0:
        page_size = api.LARGEST_PAGE if left is None else min(left, api.LARGEST_PAGE)
        page = ask(**scope, filter=filter, page_size=page_size, page_token=token).send(client)
        documents = page.get(key, [])[:left]
        yield from documents
        if left is not None:
            left -= len(documents)
        token = page.get("next_page_token")
        if not token:
            return
