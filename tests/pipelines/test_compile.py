"""The committed IR is what its definition compiles to, and a stale one is noticed."""

from __future__ import annotations

import shutil

from include.pipelines import compile as compiling


def test_the_committed_ir_is_current(capsys):
    assert compiling.main(["--check"]) == 0, capsys.readouterr().err


def test_a_stale_ir_is_named_and_compiling_mends_it(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "include" / "pipelines"
    folder.mkdir(parents=True)
    shutil.copy(compiling.FOLDER / "train_classifier.yaml", folder)
    with (folder / "train_classifier.yaml").open("a", encoding="utf-8") as file:
        file.write("# changed by hand\n")
    monkeypatch.setattr(compiling, "FOLDER", folder)
    assert compiling.main(["--check"]) == 1
    assert "include/pipelines/train_classifier.yaml is stale: run `make compile`" in capsys.readouterr().err
    assert compiling.main([]) == 0
    assert compiling.main(["--check"]) == 0
