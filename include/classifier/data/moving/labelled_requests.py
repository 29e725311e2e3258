"""Training rows that users have sent: captured requests whose texts were kept and whose labels have arrived."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from include.classifier.data.moving.store_path import store_at
from include.classifier.data.sources import Source, as_uri, write_whole
from include.contracts.monitoring.captured import ReadingCounts
from include.contracts.monitoring.labels import LABELLED_REQUESTS, join
from include.contracts.settings import DataConfig

#: Beside the data set: what was trained on of users' requests, with the id of each.
FILE = "labelled-requests.jsonl"


def labelled_requests(requests_uri: str, output_uri: str, data: DataConfig) -> Source | None:
    """Write the rows that there are, and return them as a source; ``None`` where there are none.

    Each has ``request_id`` and ``origin``, where its label came from, beside the columns that the model's YAML names.

    :param requests_uri: folder of the model in the model store.
    :param output_uri: folder of the data set.
    """
    counts, now = ReadingCounts(), datetime.now(UTC)
    joined = join(store_at(requests_uri), first=datetime.min.replace(tzinfo=UTC), last=now, counts=counts)
    keys = {name: key for key, name in data.labels.items()}
    lines: list[str] = []
    without_text = 0
    for each in joined.rows:
        text, label = each.row.input, each.label.label
        if not isinstance(text, str):
            without_text += 1
            continue
        row: dict[str, Any] = dict.fromkeys(data.text_columns)
        row |= {data.text_columns[0]: text, str(data.label_column): keys.get(label, label)}
        if data.date_column is not None:
            row[str(data.date_column)] = each.request.at[:10]
        row |= {"request_id": each.request.id, "origin": each.label.origin}
        lines.append(json.dumps(row, ensure_ascii=False))
    print(
        f"Labels have arrived for {len(lines):,} captured rows with texts, {without_text:,} without, and for "
        f"{joined.unmatched:,} that are not there or not to be told apart.",
        flush=True,
    )
    if not lines:
        return None
    uri = f"{as_uri(output_uri)}/{FILE}"
    write_whole(uri, "\n".join(lines) + "\n")
    return Source(uri, "train", named=LABELLED_REQUESTS)
