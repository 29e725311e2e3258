"""A switch of the benchmark is what a release does: beside the live version, asked, promoted, the oldest taken out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock, call

import pytest

from benchmarks.switches import MODEL, Releases
from kubeflow_provider.services import ModelVersion
from kubeflow_provider.states import DeploymentState


def version(name: str) -> ModelVersion:
    return ModelVersion(model=MODEL, version=name, archive_uri="file:///store", archive_sha256="")


def make_hook(**changes: Any) -> Mock:
    promoted = SimpleNamespace(is_live=True, state=DeploymentState.READY)
    answers = {
        "get_previous.return_value": None,
        "predict.return_value": SimpleNamespace(status_code=200),
        "promote.return_value": promoted,
    }
    return Mock(**(answers | changes))


def test_a_version_is_asked_before_it_goes_live_and_the_oldest_one_goes() -> None:
    hook = make_hook(**{"get_previous.return_value": "1"})
    third = version("3")
    seconds = Releases(hook, [third]).switch()

    asked = hook.predict.call_args.args[1]
    assert hook.mock_calls == [
        call.get_previous(MODEL),
        call.deploy_candidate(third),
        call.predict(MODEL, asked, version="3"),
        call.promote(MODEL, "3"),
        call.remove(MODEL, "1"),
    ]
    assert seconds >= 0


def test_versions_take_turns() -> None:
    hook = make_hook()
    versions = [version(name) for name in "123"]
    seconds = Releases(hook, versions).switches(4)()

    assert [promoted.args[1] for promoted in hook.promote.call_args_list] == ["1", "2", "3", "1"]
    assert len(seconds) == 4
    assert not hook.remove.called, "there was no version before the previous one"


@pytest.mark.parametrize(
    "changes",
    [
        {"predict.return_value": SimpleNamespace(status_code=503)},
        {"promote.return_value": SimpleNamespace(is_live=False, state=DeploymentState.PENDING)},
    ],
    ids=["it does not answer", "it is not live"],
)
def test_a_version_that_users_do_not_get_ends_the_benchmark(changes: dict[str, Any]) -> None:
    with pytest.raises(RuntimeError, match=f"{MODEL} 1 answered"):
        Releases(make_hook(**changes), [version("1")]).switch()
