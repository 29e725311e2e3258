"""Transformers' Trainer with what it lacks: class weights, a stop at a loss that is no number, progress and curves.

Imported by training.py inside a function, once it is clear that there is something to train.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch  # noqa: TID253  see above
from torch.nn.functional import cross_entropy  # noqa: TID253
from transformers import (  # noqa: TID253
    EarlyStoppingCallback,
    EvalPrediction,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from include.classifier.metrics import accuracy, confusion_matrix, log_loss, macro_f1
from include.classifier.progress import duration, report
from include.classifier.serving.torch_engine import Side, pad, takes_mask
from include.classifier.shards.order import EpochOrder
from include.classifier.shards.reading import StoredRows
from include.classifier.training.checkpoints.resuming import GlobalOrder, KeepState
from include.classifier.training.dropout import draw_quickly
from include.classifier.training.epochs import AfterEpoch, TellEpochs
from include.classifier.training.first_token import read_first_token_only
from include.classifier.training.hardware import keep_to_one_gpu, limit_threads, mixed_precision
from include.classifier.training.problems import TrainingDivergedError
from include.classifier.training.processes.peers import ALONE, Peers
from include.classifier.training.processes.shared_steps import SharedSteps
from include.classifier.training.rows import Encoded

if TYPE_CHECKING:
    from include.classifier.tracking import Tracker
    from include.classifier.training.base_model import BaseModel
    from include.classifier.training.checkpoints.store import Checkpoints
    from include.contracts.settings import TrainingConfig

#: Seconds between two lines of progress.
_REPORT_EVERY_SECONDS = 2.0

#: What the Trainer logs by itself and MLflow gets.
_CURVES: tuple[str, ...] = ("loss", "grad_norm", "learning_rate")


class Fitted(NamedTuple):
    """How a training went.

    :param epochs: that ran.
    :param kept_step: whose weights were kept.
    :param steps: of the optimiser, each of which counts once.
    :param seconds: that was computed for, over all starts.
    """

    epochs: float
    kept_step: int
    steps: int
    seconds: float


class ClassifierTrainer(Trainer):
    """Stops at the first loss that is not finite, instead of training on to a model that answers nonsense.

    :param shared: where a step is made of several passes, what deals them out; ``None``: as the Trainer does.
    """

    def __init__(self, *args: Any, peers: Peers, shared: SharedSteps | None, **kwargs: Any) -> None:
        self._peers = peers
        self._shared = shared
        super().__init__(*args, **kwargs)
        self._step_loss = torch.zeros((), device=self.args.device)

    def get_train_dataloader(self) -> Any:
        """Return what the rows of the steps are read from."""
        return super().get_train_dataloader() if self._shared is None else self._shared.loader(self.data_collator)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        rows = self.train_dataset if train_dataset is None else train_dataset
        if not isinstance(rows, StoredRows):
            return super()._get_train_sampler(train_dataset)
        # The Trainer's own would hold the length of every row, and a number for each.
        return EpochOrder(rows, batch_rows=self.args.train_batch_size, seed=self.args.seed)

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Do one step of the optimiser's work."""
        loss = super().training_step(*args, **kwargs)
        if self._peers.size > 1:
            self._step_loss += loss  # All have to stop together: see agree.
        elif not torch.isfinite(loss).all():
            raise self._diverged(loss, self.state.global_step + 1)
        return loss

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the loss of a pass: of its share of a step where there is one."""
        if self._shared is None or "step_weight" not in inputs:
            return super().compute_loss(model, inputs, *args, **kwargs)
        weight, labels = inputs.pop("step_weight"), inputs.pop("labels")
        return self._shared.loss(model(**inputs)["logits"], labels, weight)

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Score the validation rows, of which each process reads a share."""
        metrics: dict[str, float] = super().evaluate(*args, **kwargs)
        if self._shared:
            self._shared.has_evaluated()
        return metrics

    def agree(self, word: bool) -> bool:
        """Return the first process's word to all of them; called after each step.

        :raises TrainingDivergedError: in all of them, when the loss of the step is no finite number in one.
        """
        if self._peers.size == 1:
            return word
        said = torch.tensor(float(word and self._peers.is_first), device=self.args.device)
        loss, agreed = self._peers.total(torch.stack([self._step_loss / self._peers.size, said]))
        self._step_loss.zero_()
        if not torch.isfinite(loss):
            raise self._diverged(loss, self.state.global_step)
        return bool(agreed)

    def _diverged(self, loss: torch.Tensor, step: int) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"The loss became {loss.item()} in step {step} of {self.state.max_steps} "
            f"(epoch {self.state.epoch or 0:.2f}, learning rate {self._get_learning_rate():.3g}). Lower the "
            f"learning rate, for example to {self.args.learning_rate / 5:.1g}, or raise the batch size."
        )


class TellEpoch(TrainerCallback):
    """Says which epoch begins to what deals out the steps."""

    def __init__(self, shared: SharedSteps, steps_per_epoch: int) -> None:
        self._shared, self._steps_per_epoch = shared, steps_per_epoch

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the epochs by their steps, also where a training goes on within one."""
        self._shared.set_epoch(state.global_step // self._steps_per_epoch)


class ReportProgress(TrainerCallback):
    """Says every few seconds how far training is, and sends losses and scores to the tracker."""

    def __init__(self, samples: int, tracker: Tracker) -> None:
        self._samples = samples
        self._tracker = tracker
        self._loss = float("nan")
        self._first_step, self._first_epoch = 0, 0.0
        self._started = self._reported = time.monotonic()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock."""
        self._first_step, self._first_epoch = state.global_step, state.epoch or 0.0
        self._started = self._reported = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Print a line when the last one is old."""
        now = time.monotonic()
        if now - self._reported < _REPORT_EVERY_SECONDS:
            return
        self._reported = now
        elapsed = now - self._started
        left = elapsed * (state.max_steps - state.global_step) / (state.global_step - self._first_step)
        samples = self._samples * ((state.epoch or 0.0) - self._first_epoch)
        report(
            f"train: epoch {state.epoch or 0:.1f} of {state.num_train_epochs}, step {state.global_step} of "
            f"{state.max_steps}, loss {self._loss:.3f}, {samples / elapsed:.0f} samples/s, "
            f"{duration(left)} left"
        )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the latest loss, and send a point of the learning curve."""
        logs = logs or {}
        self._loss = logs.get("loss", self._loss)
        curve: dict[str, float] = {name: logs[name] for name in _CURVES if name in logs}
        if "eval_macro_f1" in logs:
            curve |= {f"validation_{name}": logs[f"eval_{name}"] for name in ("macro_f1", "accuracy", "log_loss")}
            report(
                f"train: epoch {state.epoch or 0:.1f}, validation macro F1 {logs['eval_macro_f1']:.4f}, "
                f"log loss {logs['eval_log_loss']:.4f}"
            )
        self._tracker.log_metrics(curve, step=state.global_step)


def fit(
    base: BaseModel,
    train: Encoded | StoredRows,
    validation: Encoded | None,
    *,
    settings: TrainingConfig,
    class_weights: Sequence[float] | None,
    tracker: Tracker,
    scratch: Path,
    checkpoints: Checkpoints | None = None,
    after_epoch: AfterEpoch | None = None,
    peers: Peers = ALONE,
) -> Fitted:
    """Train the model in place; with early stopping it ends with the best epoch's weights.

    :param train: ``input_ids`` and ``labels`` of each row; stored rows are read as they are needed.
    :param validation: the same for the rows that choose the epoch; ``None`` keeps the last.
    :param class_weights: shape ``(n_classes,)``; ``None`` weighs all rows alike.
    :param scratch: folder of all peers for the best weights so far and for states; the caller removes it.
    :param checkpoints: where the state is kept, and gone on from; ``None`` for nowhere.
    :param after_epoch: is told of each epoch by one process alone, where there are validation rows.
    :param peers: the processes that train this model; each of them calls this with the same rows and settings.
    :raises TrainingDivergedError: when the loss is no finite number.
    :raises TakenOverError: when another start of this training goes on.
    """
    steps_per_epoch = -(-len(train) // settings.batch_size)
    precision = mixed_precision(base.model.num_parameters(), settings.mixed_precision)
    read_first_token_only(base.model)
    if not torch.cuda.is_available():
        draw_quickly(base.model)
    callbacks: list[TrainerCallback] = [ReportProgress(len(train), tracker)]
    keeps_best = bool(validation and settings.early_stopping_patience)
    if keeps_best:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping_patience))
    collator, scores = _collator(base, multiple=8 if precision else None), _validation_scores
    if validation and after_epoch and peers.size == 1:
        tells = TellEpochs(after_epoch, scores)
        validation, collator, scores = tells.numbered(validation), tells.collator(collator), tells.scores
    shared = None
    if settings.shares > 1:
        shared = SharedSteps(
            train,
            batch_size=settings.batch_size,
            accumulation=settings.gradient_accumulation,
            peers=peers,
            class_weights=class_weights,
            seed=settings.seed,
        )
        callbacks.append(TellEpoch(shared, steps_per_epoch))
    trainer = ClassifierTrainer(
        model=base.model,
        args=_arguments(settings, scratch / "best", (bool(validation), keeps_best), steps_per_epoch, precision, peers),
        train_dataset=train,
        eval_dataset=validation,
        data_collator=collator,
        processing_class=base.tokenizer,
        compute_loss_func=_loss(class_weights),
        compute_metrics=lambda prediction: peers.first_says(scores(prediction)),
        preprocess_logits_for_metrics=_logits_only,
        callbacks=callbacks,
        peers=peers,
        shared=shared,
    )
    # The Trainer's own printer repeats in another form what is reported above.
    for callback in [each for each in trainer.callback_handler.callbacks if type(each).__name__ == "PrinterCallback"]:
        trainer.remove_callback(callback)
    keep = KeepState(checkpoints, peers=peers, order=shared or GlobalOrder(), scratch=scratch, agree=trainer.agree)
    report(
        f"train: computing on {trainer.args.device} in {_name(precision)}, {steps_per_epoch} steps in an epoch"
        f"{f', each in {peers.size} processes' if peers.size > 1 else ''}"
        f"{f' on {settings.nodes} nodes' if settings.nodes > 1 else ''}"
        f"{f', {settings.gradient_accumulation} passes' if settings.gradient_accumulation > 1 else ''}"
    )
    if peers.size > 1:
        limit_threads(base.model.num_parameters(), settings.processes)  # Accelerate has set another number.
    if peers.rank:
        set_seed(settings.seed + peers.rank)  # Each process drops other elements.
    trainer.train(resume_from_checkpoint=keep.begin(trainer, steps_per_epoch=steps_per_epoch))
    state = trainer.state
    return Fitted(state.epoch or 0.0, state.best_global_step or state.global_step, state.global_step, keep.seconds)


def _arguments(
    settings: TrainingConfig,
    output_dir: Path,
    epochs: tuple[bool, bool],
    steps_per_epoch: int,
    precision: Mapping[str, Any],
    peers: Peers,
) -> TrainingArguments:
    validates, keeps_best = epochs
    together: dict[str, Any] = {}
    if peers.size > 1 and not torch.cuda.is_available():
        together = {"use_cpu": True, "ddp_backend": "gloo"}
    arguments = TrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size // settings.shares,
        gradient_accumulation_steps=settings.gradient_accumulation,
        per_device_eval_batch_size=max(32, settings.batch_size),
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        train_sampling_strategy="group_by_length",
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=max(1, min(50, steps_per_epoch // 4)),
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy="epoch" if validates else "no",
        save_strategy="best" if keeps_best else "no",
        save_only_model=True,
        save_on_each_node=settings.nodes > 1,  # Each of them loads the best weights in the end.
        save_total_limit=1,
        load_best_model_at_end=keeps_best,
        metric_for_best_model="selection",
        greater_is_better=True,
        average_tokens_across_devices=settings.shares == 1,  # SharedSteps weighs each pass itself.
        dataloader_pin_memory=torch.cuda.is_available(),
        disable_tqdm=True,
        report_to="none",
        remove_unused_columns=False,
        **{**precision, **together},
    )
    return keep_to_one_gpu(arguments)


def _name(precision: Mapping[str, Any]) -> str:
    return next(iter(precision), "fp32")


def _collator(base: BaseModel, *, multiple: int | None) -> Callable[[Encoded], dict[str, torch.Tensor]]:
    with_mask = takes_mask(base.model)
    side: Side = "left" if base.padding == "left" else "right"

    def collate(rows: Encoded) -> dict[str, torch.Tensor]:
        ids = [row["input_ids"] for row in rows]
        batch = pad(base.tokenizer, ids, with_mask=with_mask, padding_side=side, pad_to_multiple_of=multiple)
        return {**batch, "labels": torch.tensor([row["labels"] for row in rows])}

    return collate


def _logits_only(outputs: torch.Tensor | tuple[torch.Tensor, ...], labels: torch.Tensor) -> torch.Tensor:
    """Return the first of what a model gives: an encoder with a decoder gives its states as well."""
    return outputs if isinstance(outputs, torch.Tensor) else outputs[0]


def _loss(class_weights: Sequence[float] | None) -> Callable[..., torch.Tensor]:
    weights = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)

    def loss(outputs: Any, labels: torch.Tensor, num_items_in_batch: Any = None) -> torch.Tensor:
        logits = outputs["logits"].float()
        return cross_entropy(logits, labels, weight=None if weights is None else weights.to(logits.device))

    return loss


def _validation_scores(prediction: EvalPrediction) -> dict[str, float]:
    logits = torch.from_numpy(np.asarray(prediction.predictions, dtype=np.float64))
    truth = np.asarray(prediction.label_ids, dtype=np.int64)
    probabilities = torch.softmax(logits, dim=-1).numpy()
    matrix = confusion_matrix(truth, probabilities.argmax(axis=1), probabilities.shape[1])
    scores = {
        "macro_f1": macro_f1(matrix),
        "accuracy": accuracy(matrix),
        "log_loss": log_loss(truth, probabilities),
    }
    # Macro F1 chooses the epoch. On few rows several epochs share the same: the smaller log loss decides among them.
    return scores | {"selection": scores["macro_f1"] - 1e-4 * min(scores["log_loss"], 1.0)}
