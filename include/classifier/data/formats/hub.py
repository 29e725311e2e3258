"""Reads data sets of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from include.classifier.data.formats.batches import Batch, table_batches
from include.classifier.data.formats.headers import has_columns
from include.classifier.data.problems import DataError, Problems, SourceUnavailableError
from include.classifier.data.reach import check_hub_id
from include.classifier.data.sources import HUB_PREFIX, Source
from include.contracts.kinds.labels import label_text
from include.contracts.settings import DataConfig

#: Split when the address names none.
DEFAULT_SPLITS = {"train": "train", "evaluation": "test"}
_NAMES_SHOWN = 20
_BATCH_ROWS = 16_384


class Address(NamedTuple):
    """``hub:NAME``, ``hub:NAME:SPLIT`` or ``hub:NAME:CONFIGURATION:SPLIT``."""

    name: str
    configuration: str | None
    split: str

    @classmethod
    def of(cls, source: Source) -> Address:
        """Return what a source says.

        :raises DataError: when it is none of the three.
        """
        name, *parts = source.uri.removeprefix(HUB_PREFIX).split(":")
        check_hub_id(name, source.name)
        if len(parts) > 2:
            form = f"{HUB_PREFIX}owner/name, with :split or :configuration:split behind it"
            raise DataError(f"{source.name}: is no address of a Hub data set. Write {form}.")
        split = parts[-1] if parts else ""
        return cls(name, parts[0] if len(parts) == 2 else None, split or DEFAULT_SPLITS[source.split])


def read_hub(source: Source, data: DataConfig, problems: Problems) -> Iterator[Batch]:
    """Read a data set, whose classes may be numbers beside a list of their names.

    :param problems: gathers what is wrong with its columns and classes.
    :raises DataError: when it is not there.
    :raises SourceUnavailableError: when the Hub does not answer.
    """
    source.check_reach()
    dataset = _load(source, Address.of(source))
    if not has_columns(dataset.column_names, source, data, problems):
        return
    names = getattr(dataset.features[data.label_column], "names", None) or []
    if names and not _are_named(names, data, source, problems):
        names = []
    dataset = dataset.select_columns(data.columns).with_format("arrow")
    tables = (batch for table in dataset.iter(_BATCH_ROWS) for batch in table.to_batches())
    for batch in table_batches(tables, data):
        labels = batch.labels if isinstance(batch.labels, list) else batch.labels.to_pylist()
        yield batch._replace(labels=[_name(label, names) for label in labels]) if names else batch


def _are_named(names: Sequence[str], data: DataConfig, source: Source, problems: Problems) -> bool:
    """Return whether the model's labels are the classes' names and not their numbers; what may be both is no guess."""
    labels = {label_text(key) for key in data.labels}
    known = {label_text(name) for name in names}
    numbers = {str(index) for index in range(len(names))}
    if labels <= known or not labels & numbers:
        return True
    if labels & known:
        shown = ", ".join(map(repr, names[:_NAMES_SHOWN])) + (" and more" if len(names) > _NAMES_SHOWN else "")
        problems.add(
            source.name,
            f"its classes are called {shown}, and the model's labels may be such names or their numbers",
            "Let `labels` in the model's YAML name classes by these names.",
        )
    return False


def _name(label: Any, names: Sequence[str]) -> Any:
    return names[label] if isinstance(label, int) and 0 <= label < len(names) else label


def _load(source: Source, address: Address) -> Any:
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError

    try:
        return load_dataset(address.name, address.configuration, split=address.split)
    except DatasetNotFoundError:
        raise DataError(
            f"{source.name}: not found on the Hub, or it needs a token. Check the id; put the token into HF_TOKEN."
        ) from None
    except ValueError as error:
        there = _configurations(address.name)
        if len(there) > 1 and address.configuration not in there:
            shown = ", ".join(there[:_NAMES_SHOWN]) + (" and more" if len(there) > _NAMES_SHOWN else "")
            raise DataError(
                f"{source.name}: the data set has several configurations: {shown}. Name one and its split: "
                f"{HUB_PREFIX}{address.name}:{there[0]}:{address.split}."
            ) from None
        raise DataError(f"{source.name}: split {address.split!r} cannot be read: {error}") from error
    except (DatasetsError, RuntimeError) as error:
        raise DataError(
            f"{source.name}: cannot be read ({type(error).__name__}). Is it made of plain files? A script of its own, "
            "or of a folder, is never run: convert it to Parquet."
        ) from error
    except OSError as error:
        raise SourceUnavailableError(
            f"{source.name}: the Hub could not be reached ({type(error).__name__}); worth another try."
        ) from error


def _configurations(name: str) -> list[str]:
    from datasets import get_dataset_config_names

    try:
        return get_dataset_config_names(name)
    except Exception:  # there is a better error to show
        return []
