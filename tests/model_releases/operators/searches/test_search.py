"""A search is checked before compute is spent, and what it has found is told to people and to a release."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.contracts.search.settings import SearchConfig
from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.memory.release_record import run_facts
from model_releases.operators.searches import search as module
from model_releases.operators.searches.search import BeginSearchOperator, PreparedOnce, TellSearchOperator
from tests.searches import SEARCH, search_document

SETTINGS = SearchConfig(trials=5).model_dump(mode="json")


class Pipelines:
    shows_arguments = True
    works = True

    def test_connection(self) -> tuple[bool, str]:
        return self.works, "nobody answers"


@pytest.fixture
def pipelines(monkeypatch: pytest.MonkeyPatch) -> Pipelines:
    pipelines = Pipelines()
    monkeypatch.setattr(module, "get_pipeline_service", lambda conn_id: pipelines)
    monkeypatch.setattr(module, "get_registry_service", lambda conn_id: SimpleNamespace(tracking_uri="http://mlflow"))
    return pipelines


def begin(**arguments: Any) -> dict[str, str]:
    operator = BeginSearchOperator(task_id="begin", **({"settings": SETTINGS} | arguments))
    return operator.execute({})  # type: ignore[typeddict-item]


def test_it_says_where_trials_are_tracked(pipelines: Pipelines) -> None:
    assert begin() == {"tracking_uri": "http://mlflow"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"settings": SETTINGS | {"trials": "1"}}, "search.trials: Input should be greater than or equal to 2"),
        ({"refused_sources": "a.csv cannot be read."}, "Nothing was started. a.csv cannot be read."),
        ({"private_sources": "https://host/train.csv"}, "would stand in the arguments of a pod"),
    ],
)
def test_what_can_never_work_starts_nothing(pipelines: Pipelines, arguments: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        begin(**arguments)


def test_a_service_that_does_not_answer_is_tried_again(pipelines: Pipelines) -> None:
    pipelines.works = False

    with pytest.raises(ServiceUnavailableError, match="Connection 'pipelines_default': nobody answers"):
        begin()


def test_a_data_set_that_is_there_is_not_made_again(tmp_path: Path) -> None:
    once = PreparedOnce(f"{tmp_path.as_uri()}/{{{{ name }}}}")
    context: Any = {"task": SimpleNamespace(render_template=lambda text, context: text.replace("{{ name }}", "d.json"))}
    once(context)
    (tmp_path / "d.json").write_text("{}")

    with pytest.raises(AirflowSkipException, match="is there already: the search goes on with it"):
        once(context)


def tell(folder: Path, document: Any, search: str = SEARCH) -> dict[str, Any]:
    path = folder / "search.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    operator = TellSearchOperator(task_id="tell", model="reviews", search=search, search_uri=path.as_uri())
    return operator.execute({})  # type: ignore[typeddict-item]


def test_the_best_settings_are_fields_of_a_release(tmp_path: Path) -> None:
    assert tell(tmp_path, search_document()) == {
        "learning_rate": 0.002,
        "batch_size": 8,
        "settings_from": f"search {SEARCH}",
    }
    assert tell(tmp_path, search_document(best=0, is_better=False, is_shown=False)) == {}


@pytest.mark.parametrize(
    ("document", "search", "message"),
    [
        (search_document(), "20250101000000", f"speaks of search {SEARCH} for reviews; this is search 20250101000000"),
        (search_document(model="others"), SEARCH, "for others; this is search"),
        ("{", SEARCH, "is not JSON"),
        (search_document(best=2), SEARCH, "no finished trial has this number"),
    ],
)
def test_what_another_search_has_written_is_refused(tmp_path: Path, document: Any, search: str, message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        tell(tmp_path, document, search)


@pytest.mark.parametrize(("params", "fact"), [({"settings_from": f"search {SEARCH}"}, f"search {SEARCH}"), ({}, "")])
def test_the_record_of_a_release_says_which_search_has_found_its_settings(params: Any, fact: str) -> None:
    dag = SimpleNamespace(dag_id="release_reviews")

    assert run_facts({"dag": dag, "run_id": "search__1", "params": params})["settings_from"] == fact
