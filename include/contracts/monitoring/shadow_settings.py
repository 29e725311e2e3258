"""Section ``shadow`` of a model's YAML: what a candidate shows on requests that users have sent; docs/shadow.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from include.contracts.documents import Version
from include.contracts.section import Section

Requests = Annotated[int, Field(ge=1, le=5000)]
Days = Annotated[int, Field(ge=1, le=90)]
Ratio = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Replay(Section):
    """What the pipeline is told: which captured requests the packed candidate answers again.

    :param store_uri: the model's folder in the model store.
    :param live_version: whose answers its own are compared with.
    """

    requests: Requests
    days: Days
    store_uri: str
    live_version: Version

    @classmethod
    def asked(cls, given: Mapping[str, Any] | None) -> Replay | None:
        """Return what a parameter of the pipeline says, ``None`` where that is nothing, or nothing is live."""
        return cls.model_validate(dict(given)) if given and given.get("live_version") else None


class BesideLive(Section):
    """What ``promote`` is told: what a deployed candidate and the live version are asked in turn, and the bounds.

    :param store_uri: as above.
    """

    requests: Requests
    days: Days
    store_uri: str
    max_latency_ratio: Ratio
    max_more_errors: Share


class ShadowConfig(Section):
    """What a candidate shows on requests that users have sent; docs/shadow.md explains each of them."""

    enabled: bool | None = Field(
        None,
        description="Whether candidates answer what users have asked, before anybody gets their answers; none: where "
        "`capture.enabled` is.",
    )
    requests: Requests = Field(500, description="Newest captured requests that the packed candidate answers.")
    days: Days = Field(7, description="How far back captured requests are looked for.")
    deployed_requests: Annotated[int, Field(ge=0, le=1000)] = Field(
        60,
        description="Requests that the deployed candidate and the live version are asked in turn before `promote`: "
        "captured ones, else examples of the release; 0: none.",
    )
    max_latency_ratio: Ratio = Field(
        2.0,
        description="Latency of the deployed candidate divided by the live version's, request by request, in the "
        "median; a no only when its whole interval lies above.",
    )
    max_more_errors: Share = Field(
        0.02,
        description="Share of these requests that fail, minus the live version's; a no only when its whole interval "
        "lies above.",
    )

    def replay(self, *, store_uri: str, live_version: str) -> dict[str, Any]:
        """Return what the pipeline is told; both may be templates."""
        return {
            "requests": self.requests,
            "days": self.days,
            "store_uri": store_uri,
            "live_version": live_version,
        }

    def beside_live(self, *, store_uri: str) -> dict[str, Any]:
        """Return what ``promote`` is told, nothing where there is nothing to ask."""
        if not self.deployed_requests:
            return {}
        return {
            "requests": self.deployed_requests,
            "days": self.days,
            "store_uri": store_uri,
            "max_latency_ratio": self.max_latency_ratio,
            "max_more_errors": self.max_more_errors,
        }
