"""Writes the state of a training every few minutes, and lets one begin where another has ended.

A state holds everything that the next step depends on: weights, optimiser, scheduler, scaler, the random numbers of
each process, the order of the epoch, and the best weights so far. It is a single file of PyTorch's that holds tensors,
numbers, texts and lists of these, and is loaded as nothing else (``weights_only``).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch  # noqa: TID253  imported by trainer.py, once there is something to train
from transformers import (  # noqa: TID253
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from include.classifier.progress import duration, first_line, report
from include.classifier.training.checkpoints.random_states import random_states, set_random_states
from include.classifier.training.checkpoints.store import Checkpoints, State, TakenOverError
from include.classifier.training.processes.peers import Peers

#: Files of a checkpoint of Transformers, as ``Trainer.train`` reads them.
_WEIGHTS, _STATE = "pytorch_model.bin", "trainer_state.json"
_PARTS = {"optimizer": "optimizer.pt", "scheduler": "scheduler.pt", "scaler": "scaler.pt"}

#: What each process needs itself.
_OWN = ("random", "order", "patience")


class Order(Protocol):
    """What the order of an epoch's rows depends on."""

    order: torch.Tensor


class GlobalOrder:
    """That of a training in one process: PyTorch's own generator, which dropout draws from as well."""

    @property
    def order(self) -> torch.Tensor:
        """What the order of the next epoch depends on."""
        return torch.random.get_rng_state()

    @order.setter
    def order(self, state: torch.Tensor) -> None:
        torch.random.set_rng_state(state)


class KeepState(TrainerCallback):
    """Writes states, and puts one back.

    :param checkpoints: ``None`` keeps nothing.
    :param scratch: folder of all processes for files on their way.
    :param agree: called by all processes after each step, with what the first one has to say; returns that.
    """

    def __init__(
        self,
        checkpoints: Checkpoints | None,
        *,
        peers: Peers,
        order: Order,
        scratch: Path,
        agree: Callable[[bool], bool],
    ) -> None:
        self._checkpoints = checkpoints
        self._agree = agree
        self._peers = peers
        self._order = order
        self._scratch = scratch
        self._trainer: Trainer | None = None
        self._steps_per_epoch = 0
        self._loaded: dict[str, Any] | None = None
        self._epoch_order: torch.Tensor | None = None
        self._is_pending = False
        self._seconds_before = 0.0
        self._began = self._kept = time.monotonic()

    @property
    def seconds(self) -> float:
        """That the training has computed for, over all starts of it."""
        return self._seconds_before + time.monotonic() - self._began

    def begin(self, trainer: Trainer, *, steps_per_epoch: int) -> str | None:
        """Return the checkpoint that ``Trainer.train`` goes on from, ``None`` to begin.

        :param trainer: gets this callback.
        """
        self._trainer, self._steps_per_epoch = trainer, steps_per_epoch
        trainer.add_callback(self)
        state: State | None = None
        if self._peers.is_first and self._checkpoints:
            state = self._take_over(self._checkpoints, Path(trainer.args.output_dir))
        state = self._peers.first_says(state)
        if state is None:
            return None
        self._seconds_before = state.seconds
        folder = self._folder(state)
        if self._peers.is_first_of_node and not self._peers.is_first and self._checkpoints:
            # Another node, which shares no files with that of the first process.
            file = self._checkpoints.fetch(state, self._scratch)
            self._lay_out(state, _load(file), Path(trainer.args.output_dir))
        self._peers.collect(None)  # until every node has its files
        loaded = torch.load(folder / "own.pt", weights_only=True)
        self._loaded = loaded
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, EarlyStoppingCallback):
                callback.early_stopping_patience_counter = loaded["patience"]
        return str(folder)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._began = self._kept = time.monotonic()

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put back what the order of a begun epoch depends on, or write a state that was due when one ended."""
        if self._loaded:
            if state.global_step % self._steps_per_epoch == 0:
                self._put_back_random_states()
            else:
                self._order.order = self._loaded["order"]
        self._epoch_order = self._order.order
        if self._is_pending:
            self._keep(state)

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on with the random numbers where they were, now that the order of the epoch is drawn."""
        if self._loaded:
            self._put_back_random_states(order=False)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write a state when it is time."""
        every = self._checkpoints.every_seconds if self._checkpoints else float("inf")
        if not self._agree(time.monotonic() - self._kept >= every):
            return
        if state.global_step % self._steps_per_epoch == 0:
            self._is_pending = True  # The epoch's evaluation belongs to it.
        else:
            self._keep(state)

    def _put_back_random_states(self, *, order: bool = True) -> None:
        loaded, self._loaded = self._loaded, None
        assert loaded is not None
        set_random_states(loaded["random"][self._peers.rank])
        if order:
            self._order.order = loaded["order"]

    def _keep(self, state: TrainerState) -> None:
        self._is_pending = False
        taken_over = ""
        randoms = self._peers.collect(random_states())
        if self._peers.is_first:
            try:
                self._write(state, randoms)
            except TakenOverError as error:
                taken_over = str(error)
            except Exception as error:  # each kind of store has its own; hours of training are worth more than a state
                report(f"train: the state of step {state.global_step} could not be kept ({first_line(error)})")
        self._kept = time.monotonic()
        if taken_over := self._peers.first_says(taken_over):
            raise TakenOverError(taken_over)

    def _write(self, state: TrainerState, randoms: list[dict[str, Any]]) -> None:
        trainer, checkpoints = self._trainer, self._checkpoints
        assert trainer is not None and checkpoints is not None
        assert trainer.model is not None and trainer.optimizer is not None and trainer.lr_scheduler is not None
        state.save_to_json(str(self._scratch / _STATE))
        patience = [
            each.early_stopping_patience_counter
            for each in trainer.callback_handler.callbacks
            if isinstance(each, EarlyStoppingCallback)
        ]
        scaler = getattr(trainer.accelerator, "scaler", None)
        content = {
            "trainer": (self._scratch / _STATE).read_text(encoding="utf-8"),
            "weights": trainer.model.state_dict(),
            "best": _best(state),
            "optimizer": trainer.optimizer.state_dict(),
            "scheduler": trainer.lr_scheduler.state_dict(),
            "scaler": scaler.state_dict() if scaler else None,
            "random": randoms,
            "order": self._epoch_order,
            "patience": patience[0] if patience else 0,
        }
        file = self._scratch / "state.pt"
        torch.save(content, file)
        checkpoints.save(file, step=state.global_step, epoch=state.epoch or 0.0, seconds=self.seconds)
        file.unlink()

    def _take_over(self, checkpoints: Checkpoints, output_dir: Path) -> State | None:
        """Fetch the newest state and lay it out."""
        found = checkpoints.take_over(self._scratch)
        if found is None:
            return None
        state, file = found
        try:
            content = _load(file)
        except Exception as error:  # whatever somebody has put there
            report(f"train: {state.file} is no state ({first_line(error)}), so the training begins anew")
            return None
        self._lay_out(state, content, output_dir)
        report(
            f"train: goes on after step {state.step}, epoch {state.epoch:.1f}: {duration(state.seconds)} of training "
            f"that a start before this one has done until {state.written_at}"
        )
        return state

    def _folder(self, state: State) -> Path:
        return self._scratch / f"resumed-{state.step}"

    def _lay_out(self, state: State, content: dict[str, Any], output_dir: Path) -> None:
        """Write a state as a checkpoint of Transformers, for the processes of this node."""
        folder = self._folder(state)
        folder.mkdir(exist_ok=True)
        torch.save(content["weights"], folder / _WEIGHTS)
        for name, target in _PARTS.items():
            if content[name] is not None:
                torch.save(content[name], folder / target)
        torch.save({name: content[name] for name in _OWN}, folder / "own.pt")
        document = json.loads(content["trainer"])
        document["best_model_checkpoint"] = _put_best(content["best"], document["best_global_step"], output_dir)
        (folder / _STATE).write_text(json.dumps(document), encoding="utf-8")


def _load(file: Path) -> dict[str, Any]:
    """Read a state, and delete the file."""
    try:
        content: dict[str, Any] = torch.load(file, map_location="cpu", weights_only=True)
    finally:
        file.unlink()
    return content


def _best(state: TrainerState) -> dict[str, torch.Tensor] | None:
    if state.best_model_checkpoint is None:
        return None
    from safetensors.torch import load_file

    return dict(load_file(Path(state.best_model_checkpoint, "model.safetensors")))


def _put_best(weights: dict[str, torch.Tensor] | None, step: int | None, output_dir: Path) -> str | None:
    if weights is None:
        return None
    folder = output_dir / f"checkpoint-{step}"
    folder.mkdir(parents=True, exist_ok=True)
    from safetensors.torch import save_file

    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)
