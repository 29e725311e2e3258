"""Packs a trained model, tries the package on the server that will serve it, and publishes it.

Nothing reaches the model store before the server has given the answers that the packed model gives in-process.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from include.classifier.packaging.archive import Archive, build_archive, open_archive
from include.classifier.packaging.golden import choose, with_fallback
from include.classifier.packaging.native_server import native_server
from include.classifier.packaging.precision import choose as choose_precision
from include.classifier.packaging.same_features import check_same_features
from include.classifier.packaging.server import RunningServer, torchserve
from include.classifier.packaging.server_settings import server_config
from include.classifier.serving.predictor import Prediction, Predictor
from include.contracts.settings import ServingConfig
from include.contracts.version.files import new_file

#: Rows of the evaluation data that are asked of server and packed model alike, that golden examples come from, and
#: that a rollout is watched with.
SAMPLE_ROWS = 128

#: Rows in one request of that comparison: enough that padding and batches are tried as well.
_REQUEST_ROWS = 16

#: Requests of one row each that latency is taken from.
_LATENCY_REQUESTS = 40

#: Batches are put together differently in the server, which moves float32 sums in the last digits. Anything larger
#: means that other code, another tokenizer or other weights are served.
LARGEST_DIFFERENCE = 1e-3

_CONFIG_FILE = "config/config.properties"


class PackagingError(RuntimeError):
    """The package does not serve what was trained; the message says what differs."""


def package(
    model_dir: str | Path,
    *,
    dataset: Mapping[str, Any],
    model: str,
    version: str,
    output_uri: str,
    serving: Mapping[str, Any],
) -> dict[str, Any]:
    """Build, try and publish a package in the layout that KServe's TorchServe runtime expects.

    :param model_dir: what training wrote; see :func:`build_archive`.
    :param dataset: the parsed ``dataset.json``; texts of its evaluation rows are asked of the server.
    :param model: name under which it is served.
    :param version: 14 digits.
    :param output_uri: folder of the package, as fsspec writes it.
    :param serving: the settings of ``ModelConfig.serving``.
    :return: the parts ``archive``, ``labels``, ``serving``, ``golden_examples`` and ``held_out_texts`` of
        ``candidate.json``.
    :raises PackagingError: when served answers differ from those in-process.
    :raises FeatureSkewError: when the archive's code makes other token ids of a text than training did.
    :raises PrecisionError: when the model cannot be served in the precision that the settings ask for.
    """
    with tempfile.TemporaryDirectory(prefix="package-") as name:
        folder = Path(name) / "package"
        file = f"model-store/{model}.mar"
        texts = sample_texts(dataset["splits"]["evaluation"]["uri"], SAMPLE_ROWS)
        packed, precision = choose_precision(Path(model_dir), Path(name) / "variants", texts=texts, serving=serving)
        archive = build_archive(packed, model=model, version=version, target=folder / file, serving=serving)
        _say(f"Built {file}: {archive.size_bytes / 1e6:.1f} MB, SHA-256 {archive.sha256}.")
        (folder / "config").mkdir()
        (folder / _CONFIG_FILE).write_text(server_config(model, version, serving), encoding="utf-8")
        runtime = ServingConfig.model_validate(dict(serving)).runtime
        with (native_server if runtime == "native" else torchserve)(folder) as server:
            folders = Unpacked(Path(name) / "unpacked", Path(model_dir))
            facts = _try(server, archive, folders, texts=texts, model=model, version=version)
        facts["serving"]["runtime"] = runtime
        facts["serving"]["precision"] = precision
        if precision["needs"]:
            facts["golden_examples"] = with_fallback(facts["golden_examples"], Predictor.load(Path(model_dir)))
        publish(folder, output_uri, [file, _CONFIG_FILE])
    _say(f"Published the package at {output_uri}.")
    return {
        "archive": {"uri": output_uri, "file": file, "sha256": archive.sha256, "size_bytes": archive.size_bytes}
    } | facts


def publish(folder: Path, uri: str, files: Sequence[str]) -> None:
    """Copy files to a URI so that a copy that was broken off is not taken for a package.

    :param files: paths below the folder; the last one makes it a package. It goes first and comes last.
    """
    import fsspec

    store, root = fsspec.core.url_to_fs(uri)
    marker = f"{root}/{files[-1]}"
    if store.exists(marker):
        store.rm_file(marker)
    for file in files:
        with (folder / file).open("rb") as source, new_file(store, f"{root}/{file}") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)


class Unpacked(NamedTuple):
    """Two folders with one model."""

    archive: Path  #: What the archive is unpacked into.
    trained: Path  #: What training wrote.


def _try(
    server: RunningServer, archive: Archive, folders: Unpacked, *, texts: Sequence[str], model: str, version: str
) -> dict[str, Any]:
    """Ask a server that has begun to load the package, and return what candidate.json says about it."""
    # Both load at the same time: each spends seconds on importing torch.
    predictor = Predictor.load(open_archive(archive.path, folders.archive, sha256=archive.sha256))
    expected = predictor.predict(texts)
    load_seconds = server.wait_until_ready(model)
    _say(f"{server.called} serves {model} {version} after {load_seconds:.1f} s.")
    served = _served(server, model, texts, n_labels=len(predictor.labels))
    features = check_same_features(folders.archive, folders.trained, texts)
    _say(f"{len(texts)} rows reach the packed model as the same {features['tokens']:,} token ids as in training.")
    difference = largest_difference(texts, expected, served, version=version)
    _say(f"{len(texts)} served answers equal those in-process; largest difference {difference:.1e}.")
    latencies = _latencies_ms(server, model, texts)
    p50, p95 = statistics.median(latencies), statistics.quantiles(latencies, n=20)[-1]
    _say(f"A request with one text takes {p50:.1f} ms (median), {p95:.1f} ms (95th percentile).")
    return {
        "labels": predictor.labels,
        "serving": {
            "load_seconds": round(load_seconds, 3),
            "p50_ms": round(p50, 3),
            "p95_ms": round(p95, 3),
            "parity_rows": len(texts),
            "largest_difference": difference,
            "same_features": features,
        },
        "golden_examples": choose(texts, expected),
        "held_out_texts": list(texts),
    }


def sample_texts(uri: str, rows: int) -> list[str]:
    """Return texts of a Parquet file, evenly spaced over its rows sorted by label: each label has its share.

    :param rows: at most so many.
    """
    import fsspec
    import pyarrow.parquet

    with fsspec.open(uri, "rb") as file:
        table = pyarrow.parquet.read_table(file, columns=["text", "label"])
    by_label = table.sort_by("label").column("text")
    count = min(rows, len(by_label))
    return [by_label[index * len(by_label) // count].as_py() for index in range(count)]


def _served(server: RunningServer, model: str, texts: Sequence[str], *, n_labels: int) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    for start in range(0, len(texts), _REQUEST_ROWS):
        body = {"instances": list(texts[start : start + _REQUEST_ROWS]), "top_k": n_labels}
        status, answer = server.predict(f"/v1/models/{model}:predict", body)
        if status != 200:
            # The answer itself is left out: what a broken handler writes there may hold a text.
            raise PackagingError(
                f"The packed model answered evaluation rows with {status}. Its log ends with:\n{server.log_tail()}"
            )
        answers += answer.get("predictions", [])
    return answers


def largest_difference(
    texts: Sequence[str], expected: Sequence[Prediction], served: Sequence[Mapping[str, Any]], *, version: str
) -> float:
    """Return the largest difference between a served and an in-process probability.

    :raises PackagingError: when it is too large, or a label or the version differs; names rows of the sample, no texts.
    """
    if len(served) != len(texts):
        raise PackagingError(f"The packed model gave {len(served)} answers to {len(texts)} texts.")
    largest = 0.0
    for row, (ours, theirs) in enumerate(zip(expected, served, strict=True)):
        if theirs.get("version") != version:
            raise PackagingError(f"The packed model calls itself version {theirs.get('version')}, not {version}.")
        probabilities = theirs.get("probabilities", {})
        difference = max(abs(value - probabilities.get(label, 0.0)) for label, value in ours.probabilities.items())
        largest = max(largest, difference)
        # Where two labels lie closer together than the tolerance, either may win.
        label = theirs.get("label")
        close = ours.score - ours.probabilities.get(str(label), 0.0) <= 2 * LARGEST_DIFFERENCE
        if difference > LARGEST_DIFFERENCE or (ours.label != label and not close):
            raise PackagingError(
                f"Row {row} of the sample: served {label!r}, in-process {ours.label!r}, probabilities differ "
                f"by {difference:.2g} (allowed: {LARGEST_DIFFERENCE:g}). The package does not serve what was trained: "
                "compare the package versions of the two processes."
            )
    return largest


def _latencies_ms(server: RunningServer, model: str, texts: Sequence[str]) -> list[float]:
    latencies = []
    for index in range(_LATENCY_REQUESTS):
        body = {"instances": [texts[index * len(texts) // _LATENCY_REQUESTS]]}
        start = time.perf_counter()
        server.predict(f"/v1/models/{model}:predict", body)
        latencies.append((time.perf_counter() - start) * 1000)
    return latencies


def _say(line: str) -> None:
    print(line, flush=True)
