"""Reads compiled pipelines from where they are kept: a local file, an object store, a web server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import unquote, urlsplit

import httpx

from kubeflow_provider.exceptions import InvalidRequestError, PermissionDeniedError, ServiceUnavailableError
from kubeflow_provider.http.quiet import quiet_libraries
from kubeflow_provider.pipeline_spec import PipelineSpec
from kubeflow_provider.pipelines.spec import parse_pipeline_spec

#: Kubeflow takes no larger one.
_LARGEST_BYTES = 32 * 1024 * 1024
_TIMEOUT_SECONDS = 60.0
_MOST_REDIRECTS = 5
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
#: Scheme of an object store -> what Airflow needs to read from it.
_STORES = {"s3": "apache-airflow-providers-amazon[s3fs]", "gs": "apache-airflow-providers-google"}
_PASSING = {408, 425, 429}


def read_pipeline_spec(location: str | Path) -> PipelineSpec:
    """Read a compiled pipeline.

    :param location: path, or URI of one of the schemes ``file``, ``https``, ``s3`` and ``gs``. Those of object stores
        may name an Airflow connection before the bucket, as ``s3://aws_default@bucket/key`` does.
    :raises InvalidRequestError: when there is none, or something else; also for every other scheme.
    :raises PermissionDeniedError: when its keeper does not let us read it.
    :raises ServiceUnavailableError: when its keeper does not answer; worth another try.
    """
    place = str(location)
    scheme = found[1].lower() if (found := _SCHEME.match(place)) else ""
    if scheme == "https":
        return parse_pipeline_spec(_download(place), source=shown(place))
    if scheme in _STORES and "::" not in place:
        return parse_pipeline_spec(_fetch(place, scheme), source=shown(place))
    if scheme not in ("", "file"):
        raise InvalidRequestError(
            f"Pipeline {shown(place)} is at a place that is not read: give a path, or a URI that begins with "
            "file://, https://, s3:// or gs://."
        )
    path = Path(_path(place)) if scheme else Path(place)
    try:
        with path.open("rb") as file:
            return parse_pipeline_spec(_bounded(file, str(path)), source=str(path))
    except OSError as error:
        raise InvalidRequestError(f"Pipeline {path} cannot be read: {error.strerror or error}") from error


def read_given(*, pipeline_file: str | None, pipeline_spec: Mapping[str, Any] | str | None) -> PipelineSpec:
    """Return the pipeline that a task was given, as one of its two arguments."""
    if pipeline_spec is not None:
        return parse_pipeline_spec(pipeline_spec, source="pipeline_spec")
    return read_pipeline_spec(str(pipeline_file))


def is_local(location: str) -> bool:
    """Say whether a location is on this machine."""
    return (found := _SCHEME.match(location)) is None or found[1].lower() == "file"


def _path(uri: str) -> str:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost"):
        raise InvalidRequestError(f"Pipeline {uri} names a computer; a file:// URI has three slashes before its path.")
    return unquote(parts.path)


def _download(url: str) -> bytes:
    name = shown(url)
    try:
        with (
            quiet_libraries(),
            httpx.Client(
                follow_redirects=True,
                max_redirects=_MOST_REDIRECTS,
                timeout=_TIMEOUT_SECONDS,
                event_hooks={"request": [_refuse_plain]},
            ) as client,
            client.stream("GET", url) as answer,
        ):
            _raise_for_status(answer.status_code, name)
            content = bytearray()
            for chunk in answer.iter_bytes():
                content += chunk
                _check_size(len(content), name)
            return bytes(content)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise InvalidRequestError(f"Pipeline {name} cannot be read: {error}") from error
    except httpx.RequestError as error:
        raise ServiceUnavailableError(f"Pipeline {name} cannot be read now: {type(error).__name__}") from error


def _refuse_plain(request: httpx.Request) -> None:
    if request.url.scheme != "https":
        raise InvalidRequestError(
            f"Pipeline: {request.url.host} was to be asked without encryption, to which a redirect leads; give the "
            "address that the file is at."
        )


def _raise_for_status(status: int, name: str) -> None:
    if status == httpx.codes.OK:
        return
    message = f"Pipeline {name} cannot be read: the server answered {status}."
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise PermissionDeniedError(
            f"{message} No login is sent with it: give a signed URL, or keep it in an object store.", http_status=status
        )
    if status >= 500 or status in _PASSING:
        raise ServiceUnavailableError(message, http_status=status)
    raise InvalidRequestError(message, http_status=status)


def _fetch(uri: str, scheme: str) -> bytes:
    from airflow.sdk import ObjectStoragePath

    name = shown(uri)
    try:
        with ObjectStoragePath(uri).open("rb") as file:
            return _bounded(cast("IO[bytes]", file), name)
    except (ImportError, ValueError) as error:
        raise InvalidRequestError(
            f"Pipeline {name} cannot be read: {error}. Airflow reads {scheme}:// with {_STORES[scheme]}."
        ) from error
    except PermissionError as error:
        raise PermissionDeniedError(f"Pipeline {name} cannot be read: {error}") from error
    except (FileNotFoundError, IsADirectoryError) as error:
        raise InvalidRequestError(f"Pipeline {name} is not there.") from error
    except OSError as error:
        raise ServiceUnavailableError(f"Pipeline {name} cannot be read now: {error}") from error


def _bounded(file: IO[bytes], name: str) -> bytes:
    content = file.read(_LARGEST_BYTES + 1)
    _check_size(len(content), name)
    return content


def _check_size(size: int, name: str) -> None:
    if size > _LARGEST_BYTES:
        raise InvalidRequestError(
            f"Pipeline {name} has more than {_LARGEST_BYTES // 2**20} MiB, and Kubeflow takes no larger one; move what "
            "is embedded in its components into the image."
        )


def shown(location: str) -> str:
    """Return a location without what may be a secret of it, for messages."""
    if is_local(location):
        return location
    address = re.split(r"[?#]", location, maxsplit=1)[0]
    return re.sub(r"//[^/@]*:[^/@]*@", "//", address)
