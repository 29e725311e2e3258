"""What the server of a cluster's pod takes: the files that were released, in one format that runs no code."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.contracts.version.model_files import digest_of
from kubeflow_provider.hooks._kserve.releases import specs
from local_services.kserve_server.runtime import pod
from local_services.kserve_server.runtime.layout import FormatError


def test_the_pod_and_the_release_compute_one_digest(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    for name in ("model.skops", "a/b.txt", "a.b"):
        (tmp_path / name).write_text(name)

    assert pod.folder_digest(tmp_path) == digest_of(tmp_path)
    pod.check_files(tmp_path, digest_of(tmp_path))
    pod.check_files(tmp_path, "")
    with pytest.raises(FormatError, match=r"0{64} was released"):
        pod.check_files(tmp_path, "0" * 64)


def test_the_variables_are_those_that_a_release_sets() -> None:
    assert (pod.VERSION_VARIABLE, pod.SHA256_VARIABLE) == (specs.VERSION_VARIABLE, specs.ARCHIVE_SHA256_VARIABLE)


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (("model.skops", "README.md", "model.joblib"), ("sklearn", "model.skops")),
        (("digits.onnx", "weights.bin"), ("onnx", "digits.onnx")),
    ],
)
def test_the_format_is_that_of_the_file(tmp_path: Path, names: tuple[str, ...], found: tuple[str, str]) -> None:
    for name in names:
        (tmp_path / name).touch()

    model_format, path = pod.find_model(tmp_path)
    assert (model_format, path.name) == found


@pytest.mark.parametrize("names", [(), ("model.joblib",), ("a.skops", "b.skops"), ("a.skops", "b.onnx")])
def test_what_is_no_model_that_it_takes_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (tmp_path / name).touch()

    with pytest.raises(FormatError):
        pod.find_model(tmp_path)
