"""What a server, the router and whoever starts them must agree on: names of sockets, files and headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

#: Header of every answer of a version's own process: which version it is. Whoever judges an answer reads it.
VERSION_HEADER = "X-Model-Version"
#: Header of an answer that comes from the router alone, with the reason.
ROUTER_HEADER = "X-Model-Router"
NO_SERVER = "no-server"
UNKNOWN = "unknown-model"

#: Largest request, in bytes. The router and the servers refuse more with 413.
MOST_BODY_BYTES = 10_000_000

PROTOCOLS = ("v1", "v2")
#: Format -> ends of the names of its files. None of these runs code when it is loaded.
SAFE_FILES: Mapping[str, tuple[str, ...]] = {"sklearn": (".skops",), "onnx": (".onnx",)}
#: Those that run whatever code stands in them.
CODE_FILES: Mapping[str, tuple[str, ...]] = {"sklearn": (".joblib", ".pkl", ".pickle")}


class FormatError(ValueError):
    """A version's files are not of its format; the message says why."""


def server_folder(run_dir: Path, model: str, version: str, sha256: str, predictor: Mapping[str, Any]) -> Path:
    """Return the folder of a version's process, with its socket in it.

    Other bytes or other settings make another folder, so that nobody is answered by the process of an earlier try.
    """
    text = json.dumps([model, version, sha256, predictor], sort_keys=True)
    return run_dir / hashlib.sha256(text.encode()).hexdigest()[:20]


def socket_of(folder: Path) -> Path:
    """Return the socket at which the process of a folder listens."""
    return folder / "s"


def failure_of(folder: Path) -> Path:
    """Return the file in which a process says why it could not load its model."""
    return folder / "failure"


def predict_path(model: str, protocol: str) -> str:
    """Return where a model is asked, in the protocol of its version."""
    return f"/v2/models/{model}/infer" if protocol == "v2" else f"/v1/models/{model}:predict"


def model_file(model_format: str, names: Collection[str], *, allow_pickle: bool) -> str:
    """Return the one file of a version that is loaded.

    A safe file goes before one that runs code, so that a folder can hold both: a cluster's server reads the other one.

    :param names: of all its files, below its folder.
    :param allow_pickle: whether files that run code may be loaded.
    :raises FormatError: when there is none, or more than one.
    """
    ends = [SAFE_FILES[model_format]]
    code = CODE_FILES.get(model_format, ())
    if allow_pickle and code:
        ends.append(code)
    for suffixes in ends:
        found = sorted(name for name in names if "/" not in name and name.endswith(suffixes))
        if len(found) > 1:
            raise FormatError(
                f"{' and '.join(found[:3])} are all models in {model_format}'s format; leave one of them."
            )
        if found:
            return found[0]
    if not allow_pickle and any(name.endswith(code) for name in names if code):
        raise FormatError(
            f"its only file in {model_format}'s format is a pickle, which runs the code that stands in it. Write it "
            "with skops (`skops.io.dump(model, 'model.skops')`), or set `allow_pickle` in the connection where whoever "
            "writes models may run code on this machine"
        )
    wanted = " or ".join(suffix for suffixes in ends for suffix in suffixes)
    raise FormatError(f"none of its files has a name that ends in {wanted}, as {model_format} needs one")
