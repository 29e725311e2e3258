"""The DAGs of a model, and the tasks of a release that are asked about elsewhere, by their ids in Airflow.

Airflow's history and people's bookmarks hold them: never rename one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import Asset

#: First task of a release, and of a roll back by hand: it says with which live version the candidate is compared.
CHECK = "check"

#: Runs the queries whose rows a release reads, where its model has any.
QUERY = "query"

#: Judges the candidate; what it has judged is what goes live.
GATE = "gate"

# What changes the version that is served, in the order of a release.
DEPLOY_CANDIDATE = "deploy_candidate"
SMOKE_TEST = "smoke_test"
PROMOTE = "promote"
VERIFY = "verify"
RELEASE = "release"

#: Takes back a release that failed; in :func:`roll_back_dag` it is :data:`UNDO`.
ROLL_BACK = "roll_back"
UNDO = "undo"

#: Task that scores a table.
PREDICT = "predict"

#: DAG that looks after all models between their releases.
WATCH_DAG = "watch_releases"

# Compares captured requests with what a model was made of.
FIND_LIVE = "find_live"
COMPARE = "compare"
TELL = "tell"
ASK_FOR_RELEASE = "ask_for_release"

#: DAG that measures what older versions lose on newer data.
STALENESS_DAG = "staleness"

# A search for better settings.
BEGIN_SEARCH = "begin"
SEARCH = "search"

#: Last task: says how it ended.
REPORT = "report"

#: The release's tasks that change what is served, in their order.
DEPLOYMENT = (DEPLOY_CANDIDATE, SMOKE_TEST, PROMOTE, VERIFY, RELEASE)


def release_dag(model: str) -> str:
    """Return the DAG that releases a model."""
    return f"release_{model.replace('-', '_')}"


def roll_back_dag(model: str) -> str:
    """Return the DAG that puts an earlier release of a model back, by hand."""
    return f"roll_back_{model.replace('-', '_')}"


def take_over_dag(model: str) -> str:
    """Return the DAG that takes releases of a model over from another installation."""
    return f"take_over_{model.replace('-', '_')}"


def batch_predict_dag(model: str) -> str:
    """Return the DAG that scores tables with a model."""
    return f"batch_predict_{model.replace('-', '_')}"


def watch_drift_dag(model: str) -> str:
    """Return the DAG that compares what users send with what the model was made of."""
    return f"watch_drift_{model.replace('-', '_')}"


def search_dag(model: str) -> str:
    """Return the DAG that searches better settings of a model's training."""
    return f"search_{model.replace('-', '_')}"


def drift_asset(model: str) -> Asset:
    """Return the asset whose events say that users send something else; its URI stands in Airflow's history."""
    from airflow.sdk import Asset  # commands ask for ids before Airflow may read its settings

    return Asset(name=f"{model} drift", uri=f"x-model://{model}/drift")


def watch_task(model: str) -> str:
    """Return the task that looks after a model between its releases."""
    return f"watch_{model.replace('-', '_')}"


def kept_versions_task(model: str) -> str:
    """Return the task that finds the versions of a model that can still be asked."""
    return f"versions_{model.replace('-', '_')}"


def staleness_task(model: str) -> str:
    """Return the task that measures what they lose."""
    return f"measure_{model.replace('-', '_')}"
