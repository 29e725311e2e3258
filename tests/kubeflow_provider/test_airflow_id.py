"""An Airflow is told from others by an id that it draws once."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import Variable

from kubeflow_provider.airflow_id import AIRFLOW_ID, airflow_id


def test_an_airflow_draws_its_id_once(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: dict[str, str] = {}
    monkeypatch.setattr(Variable, "get", lambda key, default=None: kept.get(key, default))
    monkeypatch.setattr(Variable, "set", lambda key, value, description: kept.setdefault(key, value))

    assert airflow_id() == airflow_id() == kept[AIRFLOW_ID]


@pytest.mark.parametrize("kept", ["no uuid", RuntimeError("no database")])
def test_a_run_has_no_mark_where_airflow_cannot_be_told_from_others(
    monkeypatch: pytest.MonkeyPatch, kept: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def get(key: str, default: Any = None) -> Any:
        if isinstance(kept, Exception):
            raise kept
        return kept

    monkeypatch.setattr(Variable, "get", get)

    assert airflow_id() is None
    assert f"the Variable {AIRFLOW_ID} cannot be used" in caplog.text
