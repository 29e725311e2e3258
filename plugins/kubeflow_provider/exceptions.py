"""The error tree, and the retry policy made from it."""

from __future__ import annotations

from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule
from airflow.sdk.exceptions import AirflowException


class KubeflowProviderError(AirflowException):
    """Base of every error that this provider raises.

    :param message: what was wrong, where, and what to do about it.
    :param http_status: status of the answer that it was made from, ``None`` when there was none.
    """

    def __init__(self, message: str = "", *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


class InvalidRequestError(KubeflowProviderError):
    """What was asked for can never work as it stands: wrong parameters, document, archive or setting."""


class ReleaseRefusedError(InvalidRequestError):
    """A person has chosen what is live since the release began: its candidate must not take that place."""


class PermissionDeniedError(KubeflowProviderError):
    """The service does not know who is asking, or knows it and refuses."""


class ServiceUnavailableError(KubeflowProviderError):
    """The service did not answer, or answered that it cannot at present; worth another try.

    :param message: what was tried, where, and what came back.
    :param http_status: status of the answer, ``None`` when there was no answer.
    :param was_sent: False only when the request certainly never reached the service, so that a POST can be repeated
        without the danger of doing it twice.
    :param retry_after_seconds: how long the service asked to be left alone, ``None`` when it did not say.
    """

    def __init__(
        self,
        message: str = "",
        *,
        http_status: int | None = None,
        was_sent: bool = True,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message, http_status=http_status)
        self.was_sent = was_sent
        self.retry_after_seconds = retry_after_seconds


class RunFailedError(KubeflowProviderError):
    """A pipeline run ended in a state other than SUCCEEDED.

    :param message: run, failed step, reason and last log lines.
    :param run_id: the run.
    """

    def __init__(self, message: str, *, run_id: str) -> None:
        super().__init__(message)
        self.run_id = run_id


class RunCancelledError(RunFailedError):
    """The run was cancelled, from Airflow or from outside."""


class RunTimeoutError(RunFailedError):
    """The run was still going when its time was over; it has been cancelled."""


class DeploymentFailedError(KubeflowProviderError):
    """The serving system could not bring up a version."""


class CheckFailedError(KubeflowProviderError):
    """A smoke test found that the model must not be released.

    :param check: which check failed, for example ``golden examples``.
    :param expected: what a good model would have answered, without any user text.
    :param got: what came back, without any user text.
    """

    def __init__(self, check: str, *, expected: str, got: str) -> None:
        super().__init__(f"{check}: expected {expected}, got {got}")
        self.check = check
        self.expected = expected
        self.got = got

    def facts(self) -> dict[str, Any]:
        """Return the three parts for a notifier or a registry."""
        return {"check": self.check, "expected": self.expected, "got": self.got}


class RollBackFailedError(KubeflowProviderError):
    """The previous version could not be put back or does not answer: somebody has to look now."""


class AlertLostError(KubeflowProviderError):
    """An alert did not reach everybody it was meant for."""


class ReleaseFailedError(KubeflowProviderError):
    """A step of a release failed; raised by its report, so that the DAG run ends as failed."""


#: Says which errors are worth a retry. Give it to any task that uses this provider: ``retry_policy=RETRY_POLICY``.
#: Whatever is not named here follows the task's own ``retries``.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(exception=InvalidRequestError, action=RetryAction.FAIL, reason="the request itself is wrong"),
        RetryRule(exception=PermissionDeniedError, action=RetryAction.FAIL, reason="permission denied"),
        RetryRule(exception=RunFailedError, action=RetryAction.FAIL, reason="the pipeline run is over"),
        RetryRule(exception=DeploymentFailedError, action=RetryAction.FAIL, reason="the deployment is hopeless"),
        RetryRule(exception=CheckFailedError, action=RetryAction.FAIL, reason="the model failed its smoke test"),
        RetryRule(exception=AlertLostError, action=RetryAction.FAIL, reason="telling of it twice changes nothing"),
        RetryRule(exception=ReleaseFailedError, action=RetryAction.FAIL, reason="a report changes nothing"),
    ]
)
