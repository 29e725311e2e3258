"""``search.json``: what a search for better settings has found. The pipeline half writes it, the DAG reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from include.contracts.documents import Count, Document, NotNegative, Part, Positive, Sha256, Share, Version
from include.contracts.search.settings import SearchedName, Space, as_form

#: Folder in that of the model in the model store; in it one folder for each search, named by its id (14 digits).
SEARCH_FOLDER = "search"
REPORT_FILE = "report.html"

#: What a release's form, and its record, may say of where its settings come from.
SETTINGS_FROM_PATTERN = r"^(search [0-9]{14})?$"

#: The trial with the present settings.
PRESENT = 0

Change = Annotated[float, Field(ge=-1, le=1)]
Settings = dict[SearchedName, int | float]


def settings_from(search: str) -> str:
    """Return what a release with the settings of a search says of them."""
    return f"search {search}"


class Difference(Part):
    """Macro F1 of a trial minus that of the present settings, on the same rows."""

    difference: Change
    low: Change
    high: Change


class Trial(Part):
    """One training."""

    number: Count
    state: Literal["finished", "pruned", "failed"]
    settings: Settings = Field(description="Those that are searched")
    value: float | None = Field(description="Of the objective; of a pruned trial as far as it came; null: of no epoch")
    epochs: NotNegative = Field(description="That were trained")
    seconds: NotNegative
    reason: str = Field("", max_length=500, description="Why it was pruned or has failed")
    same_as: Count | None = Field(None, description="Trial with the same settings, whose value it has")
    tracking_run_id: str | None = None
    difference: Difference | None = Field(None, description="To the present settings; null where one was not finished")


class SearchedRows(Part):
    """The training rows of a data set."""

    uri: str
    sha256: Sha256 = Field(description="Of the data set")
    train_rows: Positive = Field(description="Trained on")
    validation_rows: Positive = Field(description="Held out to judge by")


class SearchDocument(Document):
    """What a search has found."""

    file = "search.json"
    _shown = ("model", "search")

    search: Version = Field(description="Its id")
    dataset: SearchedRows
    objective: Literal["macro_f1", "log_loss"]
    early_stop: Literal["median", "halving", "none"]
    seed: Count
    space: Space
    confidence: Annotated[float, Field(gt=0, lt=1)] = Field(
        description="Of the intervals of all differences together (Bonferroni)"
    )
    trials: list[Trial] = Field(min_length=1)
    best: Count = Field(description="Number of the best trial; 0: the present settings are")
    is_better: bool = Field(description="Whether another trial was measured to be better than the present settings")
    is_shown: bool = Field(description="Whether the whole interval of its difference lies above 0")
    importance: dict[SearchedName, Share] = Field(
        {}, description="How much of what values differ by goes with a setting (fANOVA); empty: too few trials"
    )
    ended_by: Literal["trials", "minutes", "space"] = Field(
        description="The budget that was used up, or nothing was left to try"
    )
    seconds: NotNegative = Field(description="Of all tries of the search together")
    code_revision: str
    packages: dict[str, str]
    report_uri: str

    @model_validator(mode="after")
    def _best_is_a_trial(self) -> SearchDocument:
        if self.best not in {trial.number for trial in self.trials if trial.state == "finished"}:
            raise ValueError("best: no finished trial has this number")
        return self

    def trial(self, number: int) -> Trial:
        """Return a trial by its number."""
        return next(trial for trial in self.trials if trial.number == number)

    @property
    def form(self) -> dict[str, Any]:
        """What a release's form is filled in with to release the best settings; empty: the present ones are."""
        if not self.is_better:
            return {}
        return {**as_form(self.best_settings), "settings_from": settings_from(self.search)}

    def in_words(self) -> Iterator[str]:
        """Yield what was found, line by line: the outcome, the best trials, and the lines for the model's YAML."""
        title = "macro F1" if self.objective == "macro_f1" else "log loss"
        finished = [trial for trial in self.trials if trial.state == "finished" and trial.same_as is None]
        yield (
            f"{self.model}: search {self.search} ended by its {self.ended_by} after {len(self.trials)} trials, of "
            f"which {len(finished)} were finished. Report: {self.report_uri}"
        )
        best = self.trial(self.best)
        if not self.is_better:
            yield f"The present settings are the best: {title} {best.value:.4f} on {self._rows}."
            return
        change = best.difference
        against = f", macro F1 {change.difference:+.4f} ({change.low:+.4f} to {change.high:+.4f})" if change else ""
        shown = "shown to be better" if self.is_shown else "measured to be better, and not shown to be"
        yield f"Trial {best.number} is the best: {title} {best.value:.4f} on {self._rows}{against}: {shown}."
        yield "training:"
        yield from (f"  {name}: {value!r}" for name, value in best.settings.items())

    @property
    def _rows(self) -> str:
        return f"{self.dataset.validation_rows:,} rows held out of the training data"

    @property
    def best_settings(self) -> Settings:
        """What the best trial was trained with, as far as it was searched."""
        return self.trial(self.best).settings
