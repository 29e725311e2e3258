"""What operators and triggers are told of an InferenceService."""

from __future__ import annotations

from dataclasses import dataclass

from kubeflow_provider.states import DeploymentState


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceService:
    """An InferenceService at one moment.

    :param state: of what stands in its spec, not of what answered before that.
    :param reason: why it is FAILED or still PENDING, with the last log lines where there are any.
    :param url: where predictions can be asked for, ``None`` while it has no address.
    :param generation: of its spec; rises with each change.
    """

    name: str
    namespace: str
    state: DeploymentState
    reason: str | None = None
    url: str | None = None
    generation: int | None = None
