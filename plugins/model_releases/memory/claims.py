"""Which version a release has: the second in which it was asked for, or the next one that nobody has.

A version is claimed by making a file in its folder of the model store, before anything else is written there.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from kubeflow_provider.exceptions import InvalidRequestError
from model_releases import ids
from model_releases.memory.model_store import ModelStore
from model_releases.versions import asked_version, release_time, version_of

if TYPE_CHECKING:
    from airflow.sdk import ObjectStoragePath

CLAIM_FILE = "claim.json"

#: So many seconds are looked through for a free one.
_HORIZON = 600


def claim(store_uri: str, asked: str, *, mark: str, run: str, conn_id: str | None = None) -> str:
    """Claim a version for a run and return it. Whoever asks again with the same mark gets the same version.

    :param store_uri: folder of the model in the model store.
    :param asked: the version that the run would like to have.
    :param mark: what tells this run from every other one, those of another Airflow with the same store included.
    :param run: the run in words, for people who find the file.
    :param conn_id: Airflow connection for the store, where it needs one.
    :raises InvalidRequestError: when no version is free.
    :raises OSError: when the store cannot be written.
    """
    from airflow.sdk import ObjectStoragePath

    folder = ObjectStoragePath(store_uri, conn_id=conn_id or None)
    taken = set(ModelStore(store_uri, conn_id=conn_id).versions())
    text = json.dumps({"mark": mark, "run": run}) + "\n"
    for seconds in range(_HORIZON):
        version = version_of(release_time(asked) + timedelta(seconds=seconds))
        path = folder / version / CLAIM_FILE
        if version not in taken:
            _create(path, text)
        if _mark(path) == mark:
            return version
    raise InvalidRequestError(f"{store_uri} has a version for each of the {_HORIZON} seconds from {asked}.")


def claimed_version(dag_run: Any) -> str:
    """Return the version that the first task of a release has claimed for its run.

    :raises InvalidRequestError: when it has claimed none: what comes after it has no folder to write to.
    """
    version = _claimed(dag_run)
    if not version:
        raise InvalidRequestError(
            f"The task {ids.CHECK} of this run has claimed no version: it did not succeed by itself. Clear it, or "
            "trigger the DAG again."
        )
    return version


def release_version(dag_run: Any) -> str:
    """Return the version of a run; of one that has claimed none, the one that it asks for."""
    return _claimed(dag_run) or asked_version(dag_run)


def _claimed(dag_run: Any) -> str:
    from airflow.sdk.execution_time.xcom import XCom

    found = XCom.get_all(key="return_value", dag_id=dag_run.dag_id, run_id=dag_run.run_id, task_id=ids.CHECK)
    if not found or not found[0]:
        return ""
    # Version 0.1.0 left none: its runs have the one that they asked for.
    return str(found[0].get("version") or asked_version(dag_run))


def _create(path: ObjectStoragePath, text: str) -> None:
    """Make a file that was not there; one that somebody else has made meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        # A disk and S3 make it or refuse it in one step. Who wins on a store that cannot is read afterwards.
        with path.open("xb") as file:
            file.write(text.encode())
    except OSError:  # stores have errors of their own for what is there already
        if not path.exists():
            raise


def _mark(path: ObjectStoragePath) -> str | None:
    """Return whose a version is, ``None`` where nobody has claimed it in this way."""
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["mark"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
