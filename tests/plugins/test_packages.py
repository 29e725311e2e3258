"""The packages as others install them: no folder is forgotten, and old names stay at home."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from zipfile import ZipFile

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
PACKAGES = ("kubeflow_provider", "local_services", "model_releases")


def sources(package: str) -> set[str]:
    """Return the files that belong into a wheel; the old names and the documentation do not."""
    return {
        path.relative_to(PLUGINS).as_posix()
        for path in (PLUGINS / package).rglob("*")
        if path.suffix in (".py", ".html", ".js", ".css")
        and not {"_moved", "build", "docs", "__pycache__"} & {*path.relative_to(PLUGINS).parts}
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_is_named(package: str) -> None:
    settings = tomllib.loads((PLUGINS / package / "pyproject.toml").read_text())
    folders = {Path(file).parent.as_posix().replace("/", ".") for file in sources(package) if file.endswith(".py")}
    assert {*settings["tool"]["setuptools"]["packages"]} == folders


@pytest.mark.long
@pytest.mark.processes
def test_the_providers_wheel_holds_every_module_but_the_old_names(tmp_path: Path) -> None:
    package = "kubeflow_provider"
    # A copy: building writes beside the sources.
    for file in (*sources(package), f"{package}/pyproject.toml", f"{package}/README.md"):
        target = tmp_path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((PLUGINS / file).read_bytes())
    shutil.copytree(PLUGINS / package / "_moved", tmp_path / package / "_moved")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "wheels"]
    subprocess.run([*command, tmp_path / package], check=True)
    (wheel,) = (tmp_path / "wheels").iterdir()
    with ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith(f"{package}/")}
        (points,) = (name for name in archive.namelist() if name.endswith("/entry_points.txt"))
        assert "[apache_airflow_provider]" in archive.read(points).decode()
    assert packed == sources(package)
