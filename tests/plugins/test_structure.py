"""The house stays one that a newcomer finds the way in: small modules, few in a folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = [path for top in ("dags", "plugins", "include", "scripts") for path in (ROOT / top).rglob("*.py")]
MOST_LINES, MOST_MODULES = 400, 16


def test_no_module_is_long() -> None:
    lines = {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n") for path in MODULES}

    assert len(lines) > 200
    assert {path: count for path, count in lines.items() if count > MOST_LINES} == {}


def test_no_folder_is_crowded() -> None:
    modules = Counter(str(path.parent.relative_to(ROOT)) for path in MODULES)

    assert {folder: count for folder, count in modules.items() if count > MOST_MODULES} == {}
