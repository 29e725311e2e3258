"""The section ``capture`` of a model's YAML: whether, and how much, of what users send is kept."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from pydantic import Field, field_validator

from include.contracts.section import Section
from include.contracts.uris import file_uri, from_outside

Texts = Literal["keep", "hash", "drop"]

#: A request with this header is not captured, whatever its value is but ``on``.
OPT_OUT_HEADER = "x-capture"

#: Nor is one whose id begins so where headers are not seen: KServe's logger sends none.
OPT_OUT_ID = "uncaptured-"

#: Key of the settings that a version is served with.
CAPTURE = "capture"


class CaptureConfig(Section):
    """Which requests are captured, what is kept of them, and for how long. Off unless it is switched on."""

    enabled: bool = Field(False, description="Whether requests and their answers are captured at all.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1, description="Share of the answered requests that is captured, drawn at random."
    )
    texts: Texts = Field(
        "hash",
        description="What becomes of texts: `keep` them, keep a keyed `hash` of each, or `drop` them. Their features "
        "(length, script, …), numbers, labels and confidence are kept in any case.",
    )
    retention_days: Annotated[int, Field(ge=1, le=3650)] = Field(
        30, description="Captured requests and labels of earlier days are deleted by the retention DAG."
    )
    max_megabytes: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        1000, description="Of a model's captured requests; the oldest go first."
    )
    receiver: str | None = Field(
        None,
        description="In a cluster: URL of the receiver of KServe's logger, such as "
        "`http://captured-requests.models:8080`. Left out: nothing is captured there.",
    )

    @field_validator("receiver")
    @classmethod
    def _receiver_is_a_url(cls, url: str | None) -> str | None:
        if url is not None and (
            not url.startswith(("http://", "https://")) or "@" in url or any(map(str.isspace, url))
        ):
            raise ValueError("an address such as http://captured-requests.models:8080 is needed, without a password")
        return url

    def logger(self, model: str) -> dict[str, str] | None:
        """Return what KServe's logger is told, ``None`` where it has nothing to send.

        The receiver knows no models: what is captured of one stands in its address.

        :param model: its name.
        """
        if not self.enabled or not self.receiver:
            return None
        query = urlencode({"share": self.share, "texts": self.texts, "max_megabytes": self.max_megabytes})
        return {"url": f"{self.receiver.rstrip('/')}/{model}?{query}", "mode": "all"}

    def served_with(self, store_uri: str) -> dict[str, Any]:
        """Return what the settings of a version say of it: nothing where it is off.

        :param store_uri: of the model's folder in the store.
        """
        if not self.enabled:
            return {}
        return {CAPTURE: {**self.model_dump(mode="json", exclude={"enabled"}), "store": store_uri}}


class ServedCapture(CaptureConfig):
    """What a server is told: the section, and where its files go."""

    enabled: bool = True
    store: str = Field(description="URI of the model's folder in the store.")

    @property
    def folder(self) -> str | None:
        """The store's folder on this machine; none where the store is not here."""
        uri = from_outside(self.store)
        return uri.removeprefix(file_uri("")) if uri.startswith(file_uri("/")) else None
