"""Builds a TorchServe archive (.mar) from a trained model, and opens one.

The archive is a zip with stored, not deflated, entries: weights hardly shrink, and it is written six times faster. The
same model folder always gives the same bytes, so an archive's SHA-256 says what is in it.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import yaml

from include.classifier import serving as serving_package
from include.classifier.packaging.server_settings import worker_settings
from include.classifier.serving.onnx_engine import MODEL_FILE
from include.classifier.serving.predictor import CLASSIFIER_FILE, read_json
from include.contracts.version.archives import MANIFEST, MODEL_NAME, ArchiveContentError, check_archive

#: What the serving code is called inside the archive. Not `include`: a PYTHONPATH that the server was started with
#: comes before the archive's folder, and whatever lies there under the same name would be served instead.
PACKAGE = "classifier_serving"
HANDLER = f"{PACKAGE}.handler:handle"

_REQUIRED = ("config.json", "tokenizer.json", "tokenizer_config.json", CLASSIFIER_FILE)
_OPTIONAL = ("special_tokens_map.json", "model.safetensors.index.json")
_WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", MODEL_FILE)
_VERSION = re.compile(r"[0-9]{14}")
_CHUNK_BYTES = 1 << 20


class ArchiveError(ValueError):
    """A model cannot be packed, or an archive cannot be opened; the message says why and what to do."""


@dataclass(frozen=True)
class Archive:
    """A .mar file that was written."""

    path: Path
    sha256: str
    size_bytes: int


def build_archive(
    model_dir: Path, *, model: str, version: str, target: Path, serving: Mapping[str, Any] | None = None
) -> Archive:
    """Write an archive; the same input gives the same bytes, on every machine and at any time.

    :param model_dir: what training or :mod:`include.classifier.packaging.precision` wrote: the weights as safetensors
        or ``model.onnx``, ``config.json``, the tokenizer's files and ``classifier.json`` with ``labels`` and
        ``max_length``.
    :param model: name under which it is served; stands in the endpoint's path.
    :param version: 14 digits, for example ``20261121030000``.
    :param target: the .mar file; its folder is made.
    :param serving: the settings of ``ModelConfig.serving``; default: theirs.
    :raises ArchiveError: when a file is missing, the labels do not fit the model, or a name or version is not allowed.
    """
    check_names(model, version)
    contents: dict[str, Path | bytes] = {path.name: path for path in _model_files(model_dir)}
    _check_labels(model_dir)
    for path in sorted(Path(serving_package.__file__ or "").parent.glob("*.py")):
        contents[f"{PACKAGE}/{path.name}"] = path
    contents["model-config.yaml"] = _model_config(serving or {})
    contents[MANIFEST] = _manifest(model, version)
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(contents):
            _add(archive, name, contents[name])
    return Archive(target, sha256_of(target), target.stat().st_size)


def open_archive(source: str | Path, folder: Path, *, sha256: str | None = None) -> Path:
    """Unpack an archive and return the folder, from which :meth:`Predictor.load` reads.

    :param source: path or URI of the .mar file, as fsspec reads it.
    :param folder: made when absent; nothing outside of it is written.
    :param sha256: what the file must have; checked before anything is unpacked.
    :raises ArchiveError: when the digest differs, or the file is no archive of ours.
    """
    import fsspec

    folder.mkdir(parents=True, exist_ok=True)
    with fsspec.open(str(source), "rb") as file:
        if sha256 is not None:
            found = _digest(file)
            if found != sha256:
                raise ArchiveError(f"{source} has SHA-256 {found}, not {sha256}: it was changed after packaging.")
            file.seek(0)
        try:
            with zipfile.ZipFile(file) as archive:
                check_archive(archive, where=str(source))
                for member in archive.infolist():
                    _extract(archive, member, folder)
        except ArchiveContentError as error:
            raise ArchiveError(str(error)) from error
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:  # changed, encrypted, packed otherwise
            raise ArchiveError(f"{source} is no .mar archive: {error}.") from error
    return folder


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def check_names(model: str, version: str) -> None:
    """Refuse what cannot stand in a URL.

    :raises ArchiveError: saying which it is.
    """
    if not re.fullmatch(MODEL_NAME, model):
        raise ArchiveError(
            f"Model name {model!r} cannot stand in a URL: use lower-case letters, digits and dashes, at most 48."
        )
    if not _VERSION.fullmatch(version):
        raise ArchiveError(f"Version {version!r} is not 14 digits such as 20261121030000.")


def _model_files(model_dir: Path) -> Iterator[Path]:
    """Give the files that serving reads. Optimizer states and pickles that lie beside them stay where they are."""
    missing = [name for name in _REQUIRED if not (model_dir / name).is_file()]
    weights = [path for pattern in _WEIGHTS for path in sorted(model_dir.glob(pattern))]
    if missing or not weights:
        missing += [] if weights else [_WEIGHTS[0]]
        raise ArchiveError(f"{model_dir} lacks {', '.join(missing)}: is it the folder that training wrote?")
    yield from (model_dir / name for name in _REQUIRED)
    yield from (path for name in _OPTIONAL if (path := model_dir / name).is_file())
    yield from weights


def _check_labels(model_dir: Path) -> None:
    """Compare the label names with the model's own, which are LABEL_0, LABEL_1 where nobody named them."""
    facts = read_json(model_dir / CLASSIFIER_FILE)
    config = read_json(model_dir / "config.json")
    labels = facts.get("labels")
    if not isinstance(labels, list) or not isinstance(facts.get("max_length"), int):
        raise ArchiveError(f"{model_dir / CLASSIFIER_FILE} needs `labels`, a list, and `max_length`, a whole number.")
    # Two classes are Transformers' default, which config.json leaves out.
    by_index = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    in_model = [by_index[key] for key in sorted(by_index, key=int)]
    if len(in_model) != len(labels):
        raise ArchiveError(
            f"{model_dir}: {CLASSIFIER_FILE} names {len(labels)} labels, config.json {len(in_model)}; train it again."
        )
    if in_model != labels and in_model != [f"LABEL_{index}" for index in range(len(labels))]:
        raise ArchiveError(
            f"{model_dir}: {CLASSIFIER_FILE} and config.json name the labels differently or in another order; every "
            "answer would be mislabelled. Train it again."
        )


def _model_config(serving: Mapping[str, Any]) -> bytes:
    from include.contracts.settings import ServingConfig

    document = worker_settings(serving)
    if top_k := ServingConfig.model_validate(dict(serving)).top_k:
        document["handler"] = {"top_k": top_k}
    return yaml.safe_dump(document, sort_keys=True).encode()


def _manifest(model: str, version: str) -> bytes:
    """Return what torch-model-archiver writes, without its `createdOn`, which would differ from build to build."""
    document = {
        "archiverVersion": "0.12.0",
        "model": {
            "configFile": "model-config.yaml",
            "handler": HANDLER,
            "modelName": model,
            "modelVersion": version,
        },
        "runtime": "python",
    }
    return json.dumps(document, indent=2, sort_keys=True).encode()


def _add(archive: zipfile.ZipFile, name: str, content: Path | bytes) -> None:
    """Add an entry whose header says nothing about when, where and by whom it was made."""
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = 3  # Unix, also when it is built elsewhere.
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    if isinstance(content, bytes):
        archive.writestr(entry, content)
        return
    # The size decides beforehand whether the entry gets the header for more than 2 GiB.
    entry.file_size = content.stat().st_size
    with content.open("rb") as source, archive.open(entry, "w") as sink:
        shutil.copyfileobj(source, sink, _CHUNK_BYTES)


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    """Write one entry of an archive that was checked below the folder."""
    if member.is_dir():
        return
    path = folder.joinpath(*PurePosixPath(member.filename).parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, path.open("wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK_BYTES)
