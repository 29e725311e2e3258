"""The section ``training`` of a model's YAML; what the form asks for is in :mod:`include.contracts.form`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from include.contracts.section import Section


class TrainingConfig(Section):
    """How a model is trained."""

    base_model: str = Field(
        "scratch",
        min_length=1,
        title="Base model",
        description="Hub id, local directory, or `scratch` (small DistilBERT, no download).",
    )
    base_model_revision: str | None = Field(None, description="Commit, branch or tag of a Hub id; none: the newest.")
    epochs: Annotated[float, Field(gt=0, le=1000)] | None = Field(
        None,
        title="Epochs",
        description="Passes over the training rows, at most; early stopping may end it sooner. None: chosen for the "
        "base model and the number of rows.",
    )
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None,
        title="Learning rate",
        description="At its peak: it rises during the warm-up and then falls to 0. None: chosen for the base model.",
    )
    batch_size: Annotated[int, Field(ge=1, le=4096)] = Field(
        16, title="Batch size", description="Texts in one training step; `processes` and `nodes` share them."
    )
    max_length: Annotated[int, Field(ge=8, le=8192)] = Field(
        128,
        title="Longest text, in tokens",
        description="Longer texts are truncated, and the answer says so.",
    )
    weight_decay: Annotated[float, Field(ge=0, le=1)] = Field(
        0.01,
        title="Weight decay",
        description="Share by which a step shrinks each weight, times the learning rate.",
    )
    warmup: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, title="Warm-up", description="Share of the steps in which the learning rate rises to its peak."
    )
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = Field(
        42, title="Seed", description="Of everything that is random: same seed and data, same model."
    )
    early_stopping_patience: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="Epochs without a better macro F1 before training stops; a tenth of the rows is held out to tell. "
        "0: all rows, all epochs. None: 0 for `scratch` with chosen epochs, else 2.",
    )
    processes: Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description="Processes that train one model together, each on a GPU of its own or on a share of the "
        "processors; see docs/training.md.",
    )
    nodes: Annotated[int, Field(ge=1, le=64)] = Field(
        1,
        description="Pods that train one model together, each with `processes` processes, in a cluster with Kubeflow's "
        "Trainer; see docs/training-over-nodes.md.",
    )
    nodes_timeout_hours: Annotated[float, Field(gt=0)] = Field(
        24, description="A training over several nodes that takes longer, waiting and all its tries counted, is ended."
    )
    gradient_accumulation: Annotated[int, Field(ge=1, le=4096)] = Field(
        1,
        description="Passes that each process makes for one training step, with `batch_size / nodes / processes "
        "/ gradient_accumulation` texts at a time: for models whose batch does not fit into memory.",
    )
    mixed_precision: Literal["auto", "no", "bf16", "fp16"] = Field(
        "auto",
        description="What passes through the model are computed in; weights stay in 32 bits. `fp16` needs a GPU. "
        "`auto`: bf16 where GPU or processor compute in it, fp16 on older GPUs, else none.",
    )
    checkpoint_minutes: Annotated[float, Field(ge=0)] = Field(
        10,
        description="At most so many minutes of training are lost with a process or a node: as often its state is "
        "written to the model store, and what was trained for longer is never trained twice. 0: never.",
    )

    in_memory_rows: Annotated[int, Field(ge=1)] = Field(
        250_000,
        description="More training rows than these are tokenised into files beside the model and read from there, so "
        "that memory does not grow with them (docs/scaling.md).",
    )

    @field_validator("mixed_precision", mode="before")
    @classmethod
    def _yaml_has_read_no_as_false(cls, value: Any) -> Any:
        return "no" if value is False else value

    @model_validator(mode="after")
    def _batch_can_be_shared(self) -> TrainingConfig:
        if self.batch_size % self.shares:
            below = self.batch_size // self.shares * self.shares
            fitting = [size for size in (below, below + self.shares) if size]
            raise ValueError(
                f"batch_size: {self.batch_size} texts are not to be shared evenly by {self.all_processes} processes "
                f"with {self.gradient_accumulation} passes each; take {' or '.join(map(str, fitting))}, or other "
                "numbers of `nodes`, `processes` and `gradient_accumulation`"
            )
        return self

    @property
    def all_processes(self) -> int:
        """Processes that train together, on all nodes."""
        return self.nodes * self.processes

    @property
    def shares(self) -> int:
        """Parts that a training step is made of: passes of all processes."""
        return self.all_processes * self.gradient_accumulation

    def on_one_node(self) -> TrainingConfig:
        """Return what trains the same model in as many processes, but on one node."""
        return self.model_copy(update={"nodes": 1, "processes": self.all_processes})
