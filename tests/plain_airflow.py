"""An Airflow as a stranger has it: a fresh environment in which nothing of this project is."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def needed(package: str) -> list[str]:
    """Return a package and all that it needs, in the versions that this environment has: nothing is left to resolve."""
    found: dict[str, str] = {}
    todo = [Requirement(package)]
    looked_at = set()
    while todo:
        requirement = todo.pop()
        key = (canonicalize_name(requirement.name), frozenset(requirement.extras))
        if key in looked_at:
            continue
        looked_at.add(key)
        try:
            installed = distribution(requirement.name)
        except PackageNotFoundError:
            continue  # of an extra that nobody here has
        found[key[0]] = f"{key[0]}=={installed.version}"
        extras = ["", *requirement.extras]
        for line in installed.requires or ():
            other = Requirement(line)
            if other.marker is None or any(other.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(other)
    return sorted(found.values())


def find_python(version: str) -> Path | None:
    """Return the interpreter of a minor version, for example ``3.12``; ``None`` where this machine has none."""
    found = subprocess.run([ROOT / "scripts" / "find_python.sh", version], capture_output=True, text=True)
    return Path(found.stdout.strip()) if found.returncode == 0 else None


class PlainAirflow:
    """An environment with Airflow alone, in the versions that this environment has, and a home of its own.

    :param folder: where both are made.
    :param python: of which the environment is made; ``None``: this one.
    """

    def __init__(self, folder: Path, python: Path | None = None) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.dags = self.home / "dags"
        self.dags.mkdir(parents=True)
        self._python = folder / "environment" / "bin" / "python"
        subprocess.run([python or sys.executable, "-m", "venv", folder / "environment"], check=True)
        pins = needed("apache-airflow")
        if python is None:
            self.pip("install", "--no-deps", "--no-compile", *pins)
        else:
            # Another Python may need something more, or less.
            (folder / "pins.txt").write_text("\n".join(pins))
            self.pip("install", "--no-compile", "--constraint", str(folder / "pins.txt"), "apache-airflow")

    def pip(self, *words: str) -> str:
        """Run pip, and return what it says."""
        return self._run("-m", "pip", "--disable-pip-version-check", *words)

    def airflow(self, *words: str, **environment: str) -> str:
        """Run a command of Airflow, and return what it says, errors and all."""
        return self._run("-m", "airflow", *words, **environment)

    def python(self, text: str) -> str:
        """Run a script, and return what it says."""
        return self._run("-c", text)

    def packages(self) -> dict[str, str]:
        """Return name -> version of everything that is installed."""
        lines = self.pip("list", "--format", "freeze").splitlines()
        return dict(line.split("==") for line in lines if "==" in line)

    def _run(self, *words: str, **environment: str) -> str:
        # Nothing of this project's: neither its import path nor its Airflow.
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "PYTHON"))}
        given = {"AIRFLOW_HOME": str(self.home), "AIRFLOW__CORE__LOAD_EXAMPLES": "false", "PYTHONUTF8": "1"}
        done = subprocess.run(
            [str(self._python), *words],
            cwd=self.folder,
            env=kept | given | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}"
        return done.stdout
