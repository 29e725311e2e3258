"""A login with user and password at the Kubeflow that the environment names."""

from __future__ import annotations

import json
import os
from uuid import uuid4

import pytest
from airflow.sdk import Connection

from kubeflow_provider.hooks.kubeflow_pipelines import KubeflowPipelinesHook

pytestmark = pytest.mark.skipif(not os.environ.get("KFP_LOGIN_ENDPOINT"), reason="KFP_LOGIN_ENDPOINT is not set")


async def test_user_and_password_open_the_api() -> None:
    extra = {
        "authentication": "dex",
        "dex_connector": os.environ.get("KFP_DEX_CONNECTOR", "local"),
        "namespace": os.environ.get("KFP_LOGIN_NAMESPACE") or os.environ["KFP_NAMESPACE"],
    }
    connection = Connection(
        conn_id="login",
        conn_type="kubeflow_pipelines",
        host=os.environ["KFP_LOGIN_ENDPOINT"],
        login=os.environ["KFP_USER"],
        password=os.environ["KFP_PASSWORD"],
        extra=json.dumps(extra),
    )
    hook = KubeflowPipelinesHook("login", connection=connection)

    works, message = hook.test_connection()

    assert works, message
    assert hook.get_run(str(uuid4())) is None
    assert await hook.aget_run(str(uuid4())) is None
    assert hook.find_runs(f"[nobody's {uuid4()}]") == []
    print(f"note: {message}")
