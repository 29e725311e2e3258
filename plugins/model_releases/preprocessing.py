"""What preprocessing of a text classifier is told, for a release and for a search."""

from __future__ import annotations

from model_releases.config import TextClassifierConfig


def preprocess_arguments(
    config: TextClassifierConfig, *, folder_uri: str, data: str, seed: str, queries_uri: str
) -> dict[str, str]:
    """Return the arguments of :mod:`include.classifier.preprocess`, for a DAG with the macros that they name.

    :param folder_uri: folder that the data set is written below (template).
    :param data: the data settings as JSON (template).
    :param seed: of what is split off (template).
    :param queries_uri: folder with the rows of queries (template).
    """
    return {
        "model": config.name,
        "data": data,
        "seed": seed,
        "output-uri": f"{folder_uri}/dataset",
        "allowed-sources": "{{ allowed_sources() }}",
        "as-of": "{{ as_of(dag_run) }}",
        "timezone": config.schedule.timezone,
        "queries-uri": queries_uri if config.data.queries else "",
        "requests-uri": config.store_uri if config.data.labelled_requests else "",
    }
