from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ts.context import Context, RequestProcessor

from include.classifier.serving import cpus, handler, predictor, protocol, torch_engine

VERSION = "20261121030000"


def context_of(model_dir: Path, **settings: Any) -> Context:
    manifest = {"model": {"modelName": "tiny", "modelVersion": VERSION}}
    return Context("tiny", str(model_dir), manifest, 8, None, "0.12.0", model_yaml_config=settings)


@pytest.fixture
def context(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    import torch

    threads = torch.get_num_threads()
    monkeypatch.setattr(handler, "_handler", None)
    context = context_of(tiny_model, maxWorkers=1)
    assert handler.handle(None, context) is None
    yield context
    torch.set_num_threads(threads)


def answer(context: Context, *requests: dict[str, Any], content_type: str = "application/json") -> list[dict[str, Any]]:
    """Call the handler as TorchServe does."""
    context.request_processor = [RequestProcessor({"body": {"content-type": content_type}}) for _ in requests]
    bodies = handler.handle(list(requests), context)
    assert bodies is not None
    return [json.loads(body) for body in bodies]


def test_a_row_gets_label_score_probabilities_and_version(context: Context) -> None:
    [body] = answer(context, {"body": {"instances": ["good food"]}})

    [row] = body["predictions"]
    assert row.keys() == {"label", "score", "probabilities", "version"}
    assert row["version"] == VERSION
    assert context.get_response_status(0) == (200, None)
    assert context.get_response_content_type(0) == "application/json"


def test_requests_that_were_joined_get_their_own_rows_back(context: Context) -> None:
    texts = [["good food", "bad"], ["never again"], ["slow place", "the food was very good", "quick"]]

    joined = answer(context, *({"body": {"instances": rows}} for rows in texts))

    for rows, body in zip(texts, joined, strict=True):
        [alone] = answer(context, {"body": {"instances": rows}})
        assert [row["label"] for row in body["predictions"]] == [row["label"] for row in alone["predictions"]]
        for ours, theirs in zip(body["predictions"], alone["predictions"], strict=True):
            assert ours["probabilities"] == pytest.approx(theirs["probabilities"], abs=1e-5)


def test_a_bad_request_does_not_harm_its_neighbours(context: Context) -> None:
    first, bad, last = answer(
        context,
        {"body": {"instances": ["good food"]}},
        {"body": {"instances": ["good", 5]}},
        {"body": {"instances": ["bad food"]}},
    )

    assert [context.get_response_status(index)[0] for index in range(3)] == [200, 400, 200]
    assert "instances[1]" in bad["message"]
    assert first["predictions"][0]["probabilities"] != last["predictions"][0]["probabilities"]


def test_a_text_that_the_model_fails_on_takes_no_other_along(
    context: Context, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    predict = predictor.Predictor.predict

    def fails(self: Any, texts: list[str], before_pass: Any) -> Any:
        for text in texts:
            if text == "slow":
                raise RuntimeError(f"cannot read {text}")
        return predict(self, texts, before_pass)

    monkeypatch.setattr(predictor.Predictor, "predict", fails)
    first, broken, last = answer(context, *({"body": {"instances": [text]}} for text in ("good", "slow", "bad")))

    assert [context.get_response_status(index)[0] for index in range(3)] == [200, 500, 200]
    assert len(first["predictions"]) == len(last["predictions"]) == 1
    assert "failed on these texts" in broken["message"]
    assert "RuntimeError" in caplog.text
    assert "cannot read slow" not in caplog.text


@pytest.fixture
def slow(tiny_model: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> Context:
    """A model with a budget of seven seconds, of which every look at the clock takes one: each pass through it does."""
    seconds = itertools.count()
    monkeypatch.setattr(handler.time, "monotonic", lambda: next(seconds))
    monkeypatch.setattr(handler, "_handler", None)
    return context_of(tiny_model, responseTimeout=10)


def test_requests_for_which_there_is_no_time_are_refused_and_the_small_ones_answered(slow: Context) -> None:
    bodies = answer(slow, *({"body": {"instances": ["good"] * count}} for count in (1000, 1, 300, 2)))

    assert [slow.get_response_status(index)[0] for index in range(4)] == [503, 200, 503, 200]
    assert slow.get_response_headers(0)["Retry-After"] == "5"
    assert "again in 5 s" in bodies[0]["message"]
    assert [len(body["predictions"]) for body in (bodies[1], bodies[3])] == [1, 2]
    assert answer(slow, {"body": {"instances": ["good"]}})[0]["predictions"]


def test_a_request_that_takes_too_long_alone_is_told_to_send_less(slow: Context) -> None:
    [body] = answer(slow, {"body": {"instances": ["good"] * 1000}})

    assert slow.get_response_status(0)[0] == 413
    assert "1,000 texts took longer than the 7 s" in body["message"]


def test_an_answer_that_no_server_lets_through_is_a_413(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "MAX_ANSWER_BYTES", 1000)

    large, small = answer(context, {"body": {"instances": ["good"] * 9}}, {"body": {"instances": ["good"]}})

    assert [context.get_response_status(index)[0] for index in range(2)] == [413, 200]
    assert "send at most 3 texts" in large["message"]
    assert len(small["predictions"]) == 1


def test_the_models_settings_say_how_many_labels_are_answered(
    tiny_model: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handler, "_handler", None)
    context = context_of(tiny_model, handler={"top_k": 1})

    few, all_of_them = answer(
        context, {"body": {"instances": ["good"]}}, {"body": {"instances": ["good"], "top_k": 99}}
    )

    assert [len(body["predictions"][0]["probabilities"]) for body in (few, all_of_them)] == [1, 3]


def test_a_batch_of_bad_requests_is_answered(context: Context) -> None:
    assert [body["code"] for body in answer(context, {"body": {}}, {"body": None})] == [400, 400]


def test_broken_json_is_told_from_plain_text_by_its_media_type(context: Context) -> None:
    [refused] = answer(context, {"body": bytearray(b"good food")})
    [answered] = answer(context, {"body": bytearray(b"good food")}, content_type="")

    assert "not JSON" in refused["message"]
    assert len(answered["predictions"]) == 1


def test_workers_share_the_cpus(tiny_model: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cpus, "available_cpus", lambda: 6)
    monkeypatch.setattr(torch_engine, "SMALL_MODEL_PARAMETERS", 0)
    handler.Handler(context_of(tiny_model, maxWorkers=2))

    assert torch.get_num_threads() == 3


def test_a_small_model_computes_on_one_thread(
    tiny_model: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(cpus, "available_cpus", lambda: 6)
    torch.set_num_threads(2)
    handler.Handler(context_of(tiny_model, maxWorkers=2))

    assert torch.get_num_threads() == 1


def test_threads_that_were_asked_for_stay(tiny_model: Path, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(cpus, "available_cpus", lambda: 6)
    handler.Handler(context_of(tiny_model, maxWorkers=1))

    assert torch.get_num_threads() == 1
