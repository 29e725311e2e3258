"""What can go wrong with a release, and which errors are worth a retry."""

from __future__ import annotations

from typing import Any

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from kubeflow_provider import exceptions as provider
from kubeflow_provider.exceptions import InvalidRequestError, KubeflowProviderError


class ReleaseRefusedError(InvalidRequestError):
    """The candidate must not go live: a person has chosen what is live meanwhile, or its files were changed."""


class VersionSealedError(ReleaseRefusedError):
    """A task was cleared whose version nobody may change any more: there is nothing to roll back."""


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


class WatchFailedError(KubeflowProviderError):
    """Some of the models that a task watches could not be looked at."""


class ReleaseFailedError(KubeflowProviderError):
    """A step of a release failed; raised by its report, so that the DAG run ends as failed."""


#: Says which errors are worth a retry: the provider's policy, and what only releases know. Whatever is not named here
#: follows the task's own ``retries``.
RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        *provider.RETRY_POLICY.rules,
        RetryRule(exception=CheckFailedError, action=RetryAction.FAIL, reason="the model failed its smoke test"),
        RetryRule(exception=AlertLostError, action=RetryAction.FAIL, reason="telling of it twice changes nothing"),
        RetryRule(exception=ReleaseFailedError, action=RetryAction.FAIL, reason="a report changes nothing"),
    ]
)
