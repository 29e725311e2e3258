"""What a model's YAML says of captured requests reaches whatever serves its versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from include.capture.receiver import Receiver
from include.capture.server import read_settings
from kubeflow_provider.kubernetes.predictor_settings import PredictorSettings
from model_releases.config import ModelConfigError, read_model_config
from tests.own_models import SETTINGS

CLASSIFIER = {"name": "reviews", "data": {"train": "train.csv", "labels": ["bad", "good"]}}
KINDS = [CLASSIFIER, SETTINGS]
RECEIVER = "http://captured-requests.team:8080/"


def served(folder: Path, document: Any, **capture: Any) -> dict[str, Any]:
    path = folder / f"{document['name']}.yaml"
    path.write_text(yaml.safe_dump(document | ({"capture": capture} if capture else {})), encoding="utf-8")
    return read_model_config(path).serving_settings


@pytest.mark.parametrize("document", KINDS)
def test_nothing_is_said_of_what_is_off(document: Any, tmp_path: Path) -> None:
    assert served(tmp_path, document, enabled=False, receiver=RECEIVER) == served(tmp_path, document)
    assert "capture" not in served(tmp_path, document)


@pytest.mark.parametrize("document", KINDS)
def test_a_server_reads_what_it_is_told(document: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_STORE", f"file://{tmp_path}/store")
    settings = served(tmp_path, document, enabled=True, share=0.5, texts="drop")

    found = read_settings(settings["capture"], where="test")

    assert found is not None
    assert (found.share, found.texts, found.folder) == (0.5, "drop", f"{tmp_path}/store/{document['name']}")


@pytest.mark.parametrize("document", KINDS)
def test_kserves_logger_gets_an_address_that_the_receiver_reads(document: Any, tmp_path: Path) -> None:
    name = document["name"]
    settings = served(tmp_path, document, enabled=True, share=0.5, texts="drop", receiver=RECEIVER)
    logger = PredictorSettings.of(settings).logger
    assert logger is not None
    assert logger.mode == "all"
    address = urlsplit(logger.url)
    assert f"{address.scheme}://{address.netloc}{address.path}" == f"{RECEIVER}{name}"
    (tmp_path / name).mkdir()

    receiver = Receiver(tmp_path)
    query = {key: values[0] for key, values in parse_qs(address.query).items()}
    headers = {"ce-id": "a", "ce-type": "org.kubeflow.serving.inference.request"}
    receiver.take(address.path.strip("/"), query, headers, b"{}")

    assert len(receiver.halves) == 1


def test_a_logger_of_ones_own_stays(tmp_path: Path) -> None:
    own = {"url": "http://mine", "mode": "request"}
    document = CLASSIFIER | {"serving": {"kserve": {"logger": own}}}

    assert served(tmp_path, document, enabled=True, receiver=RECEIVER)["kserve"]["logger"] == own


@pytest.mark.parametrize(
    "capture",
    [
        {"share": 0},
        {"share": 1.1},
        {"texts": "all"},
        {"retention_days": 0},
        {"max_megabytes": 0},
        {"receiver": "captured-requests:8080"},
        {"receiver": "http://user:secret@host"},
        {"unknown": 1},
    ],
)
def test_a_wrong_setting_is_named(capture: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelConfigError, match=rf"capture\.{next(iter(capture))}") as refused:
        served(tmp_path, CLASSIFIER, **capture)
    assert "secret" not in str(refused.value)
