"""A failure reaches the tasks that run after it, with its reason and without anything private."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, BaseOperator, Context, TriggerRule

from kubeflow_provider.exceptions import InvalidRequestError, ServiceUnavailableError
from model_releases.exceptions import CheckFailedError
from model_releases.memory.failures import MAX_MESSAGE_CHARACTERS, Failure, describe, first_failure, remember_failure


class Fail(BaseOperator):
    """Raises what it is given."""

    def __init__(self, *, error: BaseException, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context: Context) -> None:
        """Raise it."""
        raise self.error


class Look(BaseOperator):
    """Returns the first failure as a text, as a clean-up task sees it."""

    def __init__(self, *, among: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(trigger_rule=TriggerRule.ALL_DONE, **kwargs)
        self.among = among

    def execute(self, context: Context) -> str:
        """Look."""
        return repr(first_failure(context, self.among))


def test_a_failed_check_keeps_its_three_parts() -> None:
    failure = describe("smoke_test", CheckFailedError("latency", expected="at most 200 ms", got="950 ms"))
    assert failure == Failure(
        task_id="smoke_test",
        error="CheckFailedError",
        message="latency: expected at most 200 ms, got 950 ms",
        check="latency",
        expected="at most 200 ms",
        got="950 ms",
    )
    assert str(failure) == "Task smoke_test failed: latency: expected at most 200 ms, got 950 ms"


@pytest.mark.parametrize(
    "error, message",
    [
        (ServiceUnavailableError("store is away"), "store is away"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("cannot parse 'dear doctor'"), "ValueError. Its message is in the task's log."),
        (ConnectionError("http://user:secret@host"), "ConnectionError. Its message is in the task's log."),
    ],
)
def test_only_messages_that_cannot_quote_a_user_are_repeated(error: Exception, message: str) -> None:
    assert describe("train", error).message == message


def test_a_known_secret_is_masked_and_a_long_message_is_cut() -> None:
    from airflow.sdk.log import mask_secret

    mask_secret("correct-horse-battery")
    message = describe("train", InvalidRequestError("token correct-horse-battery " + "x" * 5000)).message
    assert message.startswith("token *** x")
    assert len(message) == MAX_MESSAGE_CHARACTERS


@pytest.mark.airflow
def test_the_first_failure_in_the_given_order_is_found(run_dag: Callable[..., Any], xcom: Callable[..., Any]) -> None:
    with DAG("first_failure", schedule=None, default_args={"on_failure_callback": remember_failure}) as dag:
        fine = Look(task_id="fine", among=["fine"])
        check = Fail(task_id="check", error=CheckFailedError("answers", expected="5 stars", got="1 star"))
        later = Fail(task_id="later", error=InvalidRequestError("too late"), trigger_rule=TriggerRule.ALL_DONE)
        never = Look(task_id="never")
        never.trigger_rule = TriggerRule.ALL_SUCCESS
        fine >> check >> [later, never]
        later >> Look(task_id="all")
        later >> Look(task_id="reversed", among=["later", "check"])
        later >> Look(task_id="none", among=["fine", "never"])
    run = run_dag(dag)
    failure = Failure(
        task_id="check",
        error="CheckFailedError",
        message="answers: expected 5 stars, got 1 star",
        check="answers",
        expected="5 stars",
        got="1 star",
    )
    assert xcom(run, "all") == repr(failure)
    assert "'later'" in xcom(run, "reversed")
    assert xcom(run, "none") == "None"


@pytest.mark.airflow
def test_a_task_that_left_no_reason_is_named(run_dag: Callable[..., Any], xcom: Callable[..., Any]) -> None:
    with DAG("no_reason", schedule=None) as dag:
        Fail(task_id="killed", error=RuntimeError()) >> Look(task_id="look")
    assert "'killed'" in (found := xcom(run_dag(dag), "look"))
    assert "without a message" in found


def test_nothing_is_left_where_there_was_no_exception(caplog: pytest.LogCaptureFixture) -> None:
    # The dag-processor runs the callback of a task that died with its worker; an XCom cannot be written there.
    remember_failure({"exception": None, "reason": "heartbeat lost"})
    assert "heartbeat lost" in caplog.text
