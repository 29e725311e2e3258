"""The workflows that a forge runs: pinned, with the least rights, and made of commands that there are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.known_commands import problems

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def steps(workflow: Path) -> Iterator[dict[str, Any]]:
    for job in yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_every_action_is_pinned_and_its_version_named(workflow: Path) -> None:
    lines = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))

    assert len(lines) >= 1
    assert [line for line in lines if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", line)] == []


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_nothing_has_more_rights_than_it_needs(workflow: Path) -> None:
    document = yaml.safe_load(workflow.read_text(encoding="utf-8"))

    assert document["permissions"] == {}
    for name, job in document["jobs"].items():
        assert job["timeout-minutes"] <= 60, name
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        assert writes == ({"id-token", "attestations"} if name == "publish" else set()), name
    for step in steps(workflow):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        # What somebody else may name has no business in a script.
        assert "${{" not in step.get("run", "")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_make_makes_what_there_is_and_pytest_finds_its_files(workflow: Path) -> None:
    commands = [line for step in steps(workflow) for line in step.get("run", "").splitlines()]
    targets = [line for line in commands if re.match(r"make [a-z]", line)]
    files = [word for line in commands for word in re.findall(r"\S+\.py\b", line)]

    assert {line: wrong for line in targets if (wrong := problems(line))} == {}
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_the_tag_that_publishes_is_the_one_that_the_guide_names() -> None:
    document = yaml.safe_load((ROOT / ".github" / "workflows" / "publish-provider.yml").read_text(encoding="utf-8"))
    guide = (ROOT / "plugins" / "kubeflow_provider" / "CONTRIBUTING.md").read_text(encoding="utf-8")

    # YAML 1.1 reads `on` as a flag.
    (tag,) = document[True]["push"]["tags"]
    assert f"`{tag.removesuffix('*')}<version>`" in guide
    assert document["name"] in guide
