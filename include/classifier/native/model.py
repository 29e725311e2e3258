"""The model of an archive, with the code that lies in it."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qsl

import yaml

from include.classifier.native import refusals
from include.classifier.packaging.archive import PACKAGE
from include.classifier.packaging.served_package import PackageError
from include.classifier.packaging.server_settings import settings_of
from include.classifier.serving.kernels import TORCH_BFLOAT16
from include.classifier.serving.onnx_engine import MODEL_FILE
from include.classifier.serving.predictor import CLASSIFIER_FILE, read_json
from include.contracts.version.archives import MANIFEST

_log = logging.getLogger(__name__)

_FORM = "application/x-www-form-urlencoded"
_MOST_FIELDS = 100
_numbers = count(1)

#: What the code of an archive must have: module -> names.
_NEEDED = {"protocol": ("read_request", "label_sizes", "check_size", "write_answer"), "cpus": ("threads_of_a_worker",)}


@dataclass(frozen=True, slots=True)
class Reading:
    """A request that can be computed.

    :param request: the archive code's own.
    :param rows: token ids of each text.
    :param truncated: whether each text has more tokens than that.
    """

    request: Any
    rows: list[list[int]]
    truncated: list[bool]


class ServedModel:
    """A model that is ready to compute, and how its requests are read and answered.

    :param folder: an unpacked archive.
    :param workers: how many will compute side by side; default: as the archive says.
    :raises PackageError: when the code in it is older than this server, or the model cannot be loaded.
    """

    def __init__(self, folder: Path, *, workers: int | None = None) -> None:
        about = read_json(folder / MANIFEST)["model"]
        given = yaml.safe_load((folder / about["configFile"]).read_text(encoding="utf-8")) or {}
        settings = settings_of(given)
        self.name, self.version = str(about["modelName"]), str(about["modelVersion"])
        self.workers = workers or settings["maxWorkers"]
        self.response_seconds = float(given.get("responseTimeout", settings["responseTimeout"]))
        self.folder = folder
        self._top_k: int | None = (given.get("handler") or {}).get("top_k")
        self._has_onnx = (folder / MODEL_FILE).is_file()
        # While one model takes the place of another, both have a package of that name: each gets a name of its own. The
        # code itself never says it (``serving/__init__.py``).
        self._package = f"{PACKAGE}_{next(_numbers)}"
        try:
            modules = _archive_code(folder, self.name, self._package)
            self._protocol: Any = modules["protocol"]
            self.threads: int = modules["cpus"].threads_of_a_worker(self.workers)
            if self.workers > 1 and not self._has_onnx:
                _start_no_threads()
            self.predictor = _load(modules["predictor"].Predictor, folder, self.name, self.threads)
        except PackageError:
            self.forget_code()
            raise
        #: Whether texts are padded to the longest beside them, so that a batch of many is cheaper than each by itself.
        self.pads = not self._has_onnx and not self._is_in_bfloat16()
        #: Batches that one process may compute side by side: each in one of the threads that it is to compute with.
        self.lanes = self.threads if self._has_onnx else 1
        self.labels: list[str] = self.predictor.labels
        self._label_sizes = self._protocol.label_sizes(self.labels)

    def _is_in_bfloat16(self) -> bool:
        kernel = read_json(self.folder / CLASSIFIER_FILE).get("kernel") or {}
        return kernel.get("name") == TORCH_BFLOAT16 and getattr(self.predictor, "computed_in", None) is None

    def compute_in_worker(self) -> Callable[[list[list[int]]], list[list[float]]]:
        """Return what computes in a process that was forked from this one, which has not computed anything."""
        predictor = self.predictor
        if self._has_onnx:
            # A session of ONNX Runtime has threads, and none of them lives in a forked process.
            predictor = type(predictor).load(self.folder, threads=self.threads)
        # The first pass allocates and compiles; better now than in somebody's request.
        predictor.predict(["ready"])
        return predictor.probabilities

    def check(self, model: str, version: str | None) -> None:
        """Make sure that it is this one that is asked for.

        :param version: none where any will do.
        :raises Refusal: 404.
        """
        if model != self.name:
            raise refusals.other_model(self.name)
        if version not in (None, self.version):
            raise refusals.other_version(self.name, self.version)

    def read(self, body: bytes | Mapping[str, Any], content_type: str) -> Reading:
        """Return what a request asks for; not from two threads at once.

        :param body: as it came, or parsed already.
        :raises Refusal: naming what to change.
        """
        is_form = content_type.partition(";")[0].strip().lower() == _FORM
        parameters = _fields(body) if is_form and isinstance(body, bytes) else {"body": body}
        try:
            request = self._protocol.read_request(parameters, content_type)
            request = replace(request, top_k=request.top_k or self._top_k)
            self._protocol.check_size(request, self._label_sizes)
        except self._protocol.BadRequest as error:
            raise refusals.from_archive(error) from None
        tokens = self.predictor.tokenise(request.texts)
        return Reading(request, tokens.input_ids, tokens.truncated)

    def write(self, reading: Reading, rows: Sequence[Sequence[float]]) -> bytes:
        """Return the body of an answer.

        :param rows: the probabilities of each text.
        """
        found = self.predictor.predictions(rows, reading.truncated)
        return self._protocol.write_answer(reading.request, found, model=self.name, version=self.version).encode()

    def out_of_time(self, reading: Reading, *, was_alone: bool) -> refusals.Refusal:
        """Return the answer to a request whose time is over."""
        texts = len(reading.request.texts)
        error = self._protocol.TooMuch(texts, self.response_seconds) if was_alone else self._protocol.Busy()
        return refusals.from_archive(error)

    def forget_code(self) -> None:
        """Let go of the archive's code. Who still has the model can still use it."""
        for name in [name for name in sys.modules if name.partition(".")[0] == self._package]:
            del sys.modules[name]

    def failed(self) -> refusals.Refusal:
        """Return the answer to a request on whose texts the model failed."""
        message = "The model failed on these texts; the server's log says where."
        return refusals.from_archive(self._protocol.Unanswered(message))


def _start_no_threads() -> None:
    """Keep torch from starting threads before workers are forked, in which they would be waited for in vain.

    With how many a worker computes, the predictor says when it is loaded.
    """
    import torch

    torch.set_num_threads(1)


def _load(predictor: Any, folder: Path, name: str, threads: int) -> Any:
    try:
        return predictor.load(folder, threads=threads)
    except Exception as error:
        _log.exception("The model %s cannot be loaded", name)
        raise PackageError(f"The model of {name} cannot be loaded: {type(error).__name__}: {error}") from error


def _archive_code(folder: Path, name: str, package: str) -> dict[str, ModuleType]:
    """Import the code that was released with the model, and no other of that name.

    :param package: the name that it gets here.
    :raises PackageError: when it has not what this server needs.
    """
    place = folder / PACKAGE
    spec = importlib.util.spec_from_file_location(
        package, place / "__init__.py", submodule_search_locations=[str(place)]
    )
    assert spec
    assert spec.loader
    sys.modules[package] = module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        modules = {each: importlib.import_module(f"{package}.{each}") for each in (*_NEEDED, "predictor")}
    except (ImportError, OSError) as error:
        raise PackageError(f"The code in the archive of {name} cannot be imported: {error}.") from error
    missing = [
        f"{module}.{each}" for module, names in _NEEDED.items() for each in names if not _has(modules, module, each)
    ]
    if not hasattr(modules["predictor"].Predictor, "tokenise"):
        missing.append("Predictor.tokenise")
    if missing:
        raise PackageError(
            f"The code in the archive of {name} has no {', '.join(missing)}: it was packed before this server was "
            "there. Serve it with TorchServe, or release the model again."
        )
    return modules


def _has(modules: dict[str, ModuleType], module: str, name: str) -> bool:
    return hasattr(modules[module], name)


def _fields(body: bytes) -> dict[str, str | bytes]:
    """Return the fields of a form; what is no UTF-8 stays bytes, so that it is refused as such."""
    try:
        text = body.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, encoding="latin-1", max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    return {name: value.encode("latin-1") for name, value in fields}
