from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml

from kubeflow_provider.exceptions import InvalidRequestError
from kubeflow_provider.pipelines.reading import read_pipeline_spec
from kubeflow_provider.pipelines.spec import bind


class Numpy:
    """What a scalar or an array of numpy, which Airflow can do without, has to tell what it is."""

    dtype = "float32"

    def __init__(self, value: object) -> None:
        self._value = value

    def tolist(self) -> object:
        """As plain Python."""
        return self._value


def test_reads_name_and_parameters(record_and_wait: str) -> None:
    spec = read_pipeline_spec(record_and_wait)

    assert spec.name == "record-and-wait"
    assert spec.platform is None
    assert spec.parameters["seconds"]["parameterType"] == "NUMBER_DOUBLE"


def test_reads_the_platform_from_a_second_document(record_and_wait: str, tmp_path: Path) -> None:
    file = tmp_path / "two.yaml"
    file.write_text(Path(record_and_wait).read_text() + "\n---\nplatforms:\n  kubernetes: {}\n")

    assert read_pipeline_spec(file).platform == {"platforms": {"kubernetes": {}}}


@pytest.mark.parametrize("text", ["", "a: [", "- 1", "pipelineInfo: {name: x}", "root: {}\npipelineInfo: 3"])
def test_refuses_what_is_no_compiled_pipeline(text: str, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text)

    with pytest.raises(InvalidRequestError, match=r"other\.yaml"):
        read_pipeline_spec(file)


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="No such file"):
        read_pipeline_spec(tmp_path / "none.yaml")


def test_casts_what_templates_rendered_to_text(record_and_wait: str) -> None:
    given = {"file": "f", "seconds": "1.5", "repeat": "3", "fail": "True", "killed": " false", "mark": '{"a": [1]}'}

    assert bind(read_pipeline_spec(record_and_wait), given) == {
        "file": "f",
        "seconds": 1.5,
        "repeat": 3,
        "fail": True,
        "killed": False,
        "mark": {"a": [1]},
    }


def test_casts_between_numbers_without_loss(record_and_wait: str) -> None:
    bound = bind(read_pipeline_spec(record_and_wait), {"file": 20261121030000, "seconds": 2, "repeat": 3.0})

    assert bound == {"file": "20261121030000", "seconds": 2.0, "repeat": 3}
    assert isinstance(bound["seconds"], float)
    assert isinstance(bound["repeat"], int)


def test_none_means_not_given(record_and_wait: str) -> None:
    assert bind(read_pipeline_spec(record_and_wait), {"file": "f", "seconds": None}) == {"file": "f"}


@pytest.mark.parametrize(
    ("name", "value"), [("seconds", "None"), ("mark", "None"), ("repeat", ""), ("fail", " "), ("mark", "")]
)
def test_what_a_template_or_a_form_makes_of_none_is_not_given_either(
    record_and_wait: str, name: str, value: str
) -> None:
    assert bind(read_pipeline_spec(record_and_wait), {"file": "f", name: value}) == {"file": "f"}
    with pytest.raises(InvalidRequestError, match="file: missing"):
        bind(read_pipeline_spec(record_and_wait), {"file": "None"})
    assert bind(read_pipeline_spec(record_and_wait), {"file": ""}) == {"file": ""}
    with pytest.raises(InvalidRequestError, match="fiel: unknown"):
        bind(read_pipeline_spec(record_and_wait), {"file": "f", "fiel": ""})


@pytest.mark.parametrize(
    ("name", "value", "bound"),
    [
        ("mark", {"pairs": (1, (2, 3))}, {"pairs": [1, [2, 3]]}),
        ("mark", MappingProxyType({"a": range(3)}), {"a": [0, 1, 2]}),
        (
            "mark",
            {"a": Numpy(0.5), "b": [Numpy(7)], "c": Numpy([[1, 2]])},
            {"a": 0.5, "b": [7], "c": [[1, 2]]},
        ),
        ("mark", {"large": 2**53, "true": True}, {"large": 2**53, "true": True}),
        # What a template makes of it.
        ("mark", "{'a': (1, None), 'b': True}", {"a": [1, None], "b": True}),
        ("repeat", Numpy(3), 3),
        ("seconds", Numpy(1.5), 1.5),
        ("fail", Numpy(True), True),
    ],
)
def test_takes_what_python_code_returns(record_and_wait: str, name: str, value: object, bound: object) -> None:
    found = bind(read_pipeline_spec(record_and_wait), {"file": "f", name: value})[name]
    assert found == bound
    assert json.dumps(found) == json.dumps(bound)


@pytest.mark.parametrize("value", [{"id": 2**53 + 1}, {"a": [{"b": -(2**60)}]}, '{"id": 1234567890123456789}'])
def test_refuses_ids_that_would_change_on_their_way(record_and_wait: str, value: object) -> None:
    with pytest.raises(InvalidRequestError, match=r"mark: .*2\^53 \(give longer ids as text\)"):
        bind(read_pipeline_spec(record_and_wait), {"file": "f", "mark": value})


def test_says_what_to_do_with_an_old_schema(record_and_wait: str, tmp_path: Path) -> None:
    document = yaml.safe_load(Path(record_and_wait).read_text()) | {"schemaVersion": "2.0.0"}
    (tmp_path / "old.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(InvalidRequestError, match=r"old\.yaml has schemaVersion 2\.0\.0.* KFP SDK, version 2"):
        read_pipeline_spec(tmp_path / "old.yaml")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("repeat", "{{ params.repeat }}", "a whole number up to 2^53, got '{{ params.repeat }}'"),
        ("repeat", 1.5, "a whole number"),
        ("repeat", True, "a whole number"),
        ("repeat", 2**53 + 1, "a whole number up to 2^53"),
        ("repeat", -(2**53) - 1, "a whole number up to 2^53"),
        ("seconds", "soon", "a number"),
        ("seconds", "nan", "a number"),
        ("seconds", float("inf"), "a number"),
        ("fail", "yes", "true or false"),
        ("fail", 1, "true or false"),
        ("mark", "[1]", "a JSON object"),
        ("mark", "{", "a JSON object"),
        ("mark", {"a": object()}, "a JSON object"),
        ("mark", "{'a': object()}", "a JSON object"),
        ("mark", "{'a': {1}}", "a JSON object"),
        ("file", ["f"], "text"),
        ("file", 1.5, "text"),
    ],
)
def test_refuses_a_value_of_another_type(record_and_wait: str, name: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        bind(read_pipeline_spec(record_and_wait), {"file": "f"} | {name: value})

    assert f"{name}: expected {expected}" in str(error.value)


def test_names_every_problem_at_once(record_and_wait: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        bind(read_pipeline_spec(record_and_wait), {"fiel": "f", "seconds": "soon", "repeat": "often"})

    message = str(error.value)
    assert "fiel: unknown; known are fail, file, killed, mark, repeat, seconds" in message
    assert "file: missing, and it has no default" in message
    assert "seconds: expected a number, got 'soon'" in message
    assert "repeat: expected a whole number up to 2^53, got 'often'" in message


def test_shows_only_the_beginning_of_a_long_value(record_and_wait: str) -> None:
    with pytest.raises(InvalidRequestError) as error:
        bind(read_pipeline_spec(record_and_wait), {"file": "f", "repeat": "x" * 5000})

    assert len(str(error.value)) < 300


def test_refuses_a_value_that_is_not_among_those_allowed(record_and_wait: str, tmp_path: Path) -> None:
    document = yaml.safe_load(Path(record_and_wait).read_text())
    parameters = document["root"]["inputDefinitions"]["parameters"]
    parameters["file"]["literals"] = ["a", "b"]
    parameters["repeat"]["literals"] = [1.0, 2.0]
    file = tmp_path / "literals.yaml"
    file.write_text(yaml.safe_dump(document))

    assert bind(read_pipeline_spec(file), {"file": "a", "repeat": "2"}) == {"file": "a", "repeat": 2}
    with pytest.raises(
        InvalidRequestError, match=r"file: expected one of 'a', 'b', got 'c'; repeat: .*1\.0, 2\.0, got 3"
    ):
        bind(read_pipeline_spec(file), {"file": "c", "repeat": 3})
