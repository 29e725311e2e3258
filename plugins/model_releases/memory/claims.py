"""Which version a release has: the second in which it was asked for, or the next one that nobody has.

A version is claimed by making a file in its folder of the model store, before anything else is written there.
"""

from __future__ import annotations

from typing import Any

from include.contracts.version.claims import NothingFreeError, claim_version
from kubeflow_provider.airflow_id import AIRFLOW_ID, airflow_id
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases import ids
from model_releases.versions import asked_version


def claim(store_uri: str, asked: str, *, mark: str, run: str, conn_id: str | None = None) -> str:
    """Claim a version for a run and return it, see :func:`include.contracts.version.claims.claim_version`.

    :param store_uri: folder of the model in the model store.
    :param conn_id: Airflow connection for the store, where it needs one.
    :raises InvalidRequestError: when no version is free.
    :raises OSError: when the store cannot be written.
    """
    from airflow.sdk import ObjectStoragePath

    folder = ObjectStoragePath(store_uri, conn_id=conn_id or None)
    try:
        return claim_version(folder.fs, folder.path, asked, mark=mark, run=run, installation=airflow_id() or "")
    except NothingFreeError as error:
        raise InvalidRequestError(str(error)) from error


def this_installation() -> str:
    """Return what tells this installation from others that use the same store.

    :raises ServiceUnavailableError: when it cannot be had: nobody could tell then who needs what in the store.
    """
    installation = airflow_id()
    if installation is None:
        raise ServiceUnavailableError(
            f"The Airflow Variable {AIRFLOW_ID} cannot be used, and without it nobody can tell which installation "
            "needs which version of the model store. This task's log says why it cannot be read or written."
        )
    return installation


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
