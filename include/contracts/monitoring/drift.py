"""``drift.json``: what a comparison of captured requests has found. The pipeline half writes it, the DAG reads it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from include.contracts.documents import Count, Document, Part, Positive, Share, Version

Change = Annotated[float, Field(ge=-1, le=1)]

#: Folder in that of the model in the model store; in it one folder for each run, named by its time (14 digits).
DRIFT_FOLDER = "drift"
#: Folder in that of the model: what older versions lose on newer data.
STALENESS_FOLDER = "staleness"
REPORT_FILE = "report.html"


class FeatureDrift(Part):
    """One feature of the requests."""

    name: str = Field(max_length=200)
    kind: Literal["number", "category"]
    distance: Share = Field(description="Kolmogorov-Smirnov of numbers, total variation of categories")
    p_value: Share = Field(description="Adjusted for the number of features (Holm)")
    is_drift: bool
    reference: str = Field(max_length=500, description="What it was there, for people")
    requests: str = Field(max_length=500, description="What it is now")


class LiveAccuracy(Part):
    """Rows whose labels have arrived."""

    version: Version
    slice: str = Field(max_length=200, description="Empty: all of them")
    rows: Count
    right: Count
    low: Share = Field(description="Of Wilson's interval")
    high: Share


class MeasuredVersion(Part):
    """A version whose accuracy is known twice."""

    version: Version
    measured: Share = Field(description="Accuracy on its evaluation rows, before it was released")
    measured_rows: Positive
    online: Share = Field(description="Accuracy by labels that have arrived")
    rows: Positive
    low: Change = Field(description="Of the interval of online minus measured")
    high: Change


class Agreement(Part):
    """Whether what is measured before a release foretells what users get."""

    versions: list[MeasuredVersion]
    is_lower: bool = Field(description="Whether the live version is shown to be worse than measured, beyond tolerance")
    tolerated: Share
    correlation: Change | None = Field(description="Of both accuracies over versions; null: of too few versions")
    low: Change | None
    high: Change | None
    why_not: str = Field(description="Why there is no correlation")

    @property
    def is_contrary(self) -> bool:
        """Whether versions that were measured as better are shown to be worse for users."""
        return self.high is not None and self.high < 0


class DriftDocument(Document):
    """What a comparison has found."""

    file = "drift.json"
    _shown = ("model", "version")

    version: Version = Field(description="The live version")
    reference: Literal["training", "first_requests"]
    first: str = Field(description="ISO 8601: requests from here")
    last: str = Field(description="to here, this moment not included")
    requests: Count
    rows: Count
    broken_lines: Count = Field(description="Lines of captured files that could not be read")
    is_enough: bool = Field(description="Whether there were requests enough to say something")
    why_not: str = ""
    features: list[FeatureDrift]
    confidence: Share = Field(description="Of the intervals")
    accuracy: list[LiveAccuracy]
    least_accuracy: Share = Field(description="The gate's; 0 for none")
    is_below_gate: bool = Field(description="Whether the whole interval of the live version lies below it")
    agreement: Agreement | None = Field(None, description="Of a text classifier; absent before it was looked for")
    unmatched_labels: Count = Field(0, description="Labels whose request was not captured, or is not there any more")
    report_uri: str

    @property
    def drifted(self) -> list[FeatureDrift]:
        """The features that have drifted, the furthest first."""
        return sorted((each for each in self.features if each.is_drift), key=lambda each: -each.distance)

    def of_live(self) -> LiveAccuracy | None:
        """Return the accuracy of the live version, over all its rows."""
        found = (each for each in self.accuracy if each.version == self.version and not each.slice)
        return next(found, None)
