"""The error tree, and the retry policy made from it."""

from __future__ import annotations

from typing import Any

from airflow.sdk.exceptions import AirflowException

from kubeflow_provider.compat import FinalError, fail_at_once


class KubeflowProviderError(AirflowException):
    """Base of every error that this provider raises.

    :param message: what was wrong, where, and what to do about it.
    :param http_status: status of the answer that it was made from, ``None`` when there was none.
    """

    def __init__(self, message: str = "", *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle what an error holds: its class may want other arguments than its message."""
        return _made_again, (type(self), self.args), self.__dict__


def _made_again(error: type[KubeflowProviderError], args: tuple[Any, ...]) -> KubeflowProviderError:
    return error.__new__(error, *args)


class InvalidRequestError(KubeflowProviderError, FinalError):
    """What was asked for can never work as it stands: wrong parameters, document, archive or setting."""


class PermissionDeniedError(KubeflowProviderError, FinalError):
    """The service does not know who is asking, or knows it and refuses."""


class WrongPasswordError(PermissionDeniedError):
    """User and password are wrong. Nobody may try them again: a directory locks accounts after a few tries."""


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


class OutageError(ServiceUnavailableError):
    """The service is away for a while, as during an upgrade of its cluster: who waits for something goes on waiting.

    :param message: what was tried, where, and what came back.
    :param budget_seconds: how long an outage may last in all, before it is taken for :meth:`given_up`.
    :param refusal: the refusal that it was made from: of credentials that were accepted before; ``None`` when the
        service could not be asked at all.
    """

    def __init__(
        self, message: str, *, budget_seconds: float, refusal: PermissionDeniedError | None = None, **options: Any
    ) -> None:
        super().__init__(message, **options)
        self.budget_seconds = budget_seconds
        self.refusal = refusal

    def given_up(self) -> KubeflowProviderError:
        """Return what it stands for when the service has not come back in time."""
        ended = f"It was waited for {self.budget_seconds:.0f} s (`outage_seconds` of the connection)."
        if self.refusal is not None:
            return PermissionDeniedError(f"{self.refusal} {ended}", http_status=self.http_status)
        return ServiceUnavailableError(f"{self} {ended}", http_status=self.http_status, was_sent=self.was_sent)


class LiveVersionUnknownError(ServiceUnavailableError):
    """The serving system has lost its record of what is live; whoever knows tells it.

    See :meth:`kubeflow_provider.services.ForgetfulService.restore_live`.
    """


class RunFailedError(KubeflowProviderError, FinalError):
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
    """The run was still going when its time was over, and has been cancelled, or could not even be started by then."""


class DeploymentFailedError(KubeflowProviderError, FinalError):
    """The serving system could not bring up a version."""


#: Which errors are worth a retry: what is named here will end the same way again, everything else follows the task's
#: own ``retries``. The operators of this provider have it unless they are given another ``retry_policy``. ``None``
#: before Airflow 3.3, which has no such policies: there these errors always fail a task at once.
RETRY_POLICY = fail_at_once(
    {
        InvalidRequestError: "the request itself is wrong",
        PermissionDeniedError: "permission denied",
        RunFailedError: "the pipeline run is over",
        DeploymentFailedError: "the deployment is hopeless",
    }
)
