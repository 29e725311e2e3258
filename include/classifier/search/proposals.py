"""Which settings are tried next, and which trials are hopeless: Optuna's part of a search.

Nothing of it is kept on a disk. The study is made anew of the trials that are over, and what a trial is tried with
depends on these, the seed and its number alone: a search that is gone on with proposes what it would have proposed.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from include.classifier.search.trials import EndedTrial
from include.contracts.search.document import PRESENT, Settings
from include.contracts.search.settings import WHOLE, SearchConfig, Space, Values

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

#: Of fewer finished trials nothing can be said about what their values differ by.
_FEWEST_FOR_IMPORTANCE = 8

#: So many are drawn at random, before those that are over say where to look.
_MOST_AT_RANDOM = 10


class Proposals:
    """The study.

    :param present: the present settings, those that are searched; one that lies outside of the space is no example.
    """

    def __init__(self, config: SearchConfig, space: Space, present: Settings) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._config = config
        self._present = present
        self._space = {name: _distribution(name, values) for name, values in space.items()}
        self._is_present_inside = all(values.holds(present.get(name)) for name, values in space.items())
        self._study = optuna.create_study(
            direction="maximize" if config.objective == "macro_f1" else "minimize", pruner=_pruner(config)
        )
        self._running: dict[int, optuna.trial.Trial] = {}

    def propose(self, number: int) -> Settings:
        """Return the settings of a trial that begins."""
        if number == PRESENT:
            if self._is_present_inside:
                self._study.enqueue_trial(dict(self._present))
            self._running[number] = self._study.ask(self._space if self._is_present_inside else None)
            return dict(self._present)
        self._study.sampler = self._sampler(number)
        self._running[number] = trial = self._study.ask(self._space)
        return _settings(trial.params)

    def is_hopeless(self, number: int, epoch: int, value: float) -> bool:
        """Take what a trial has reached, and tell whether it should end. The present settings always go on."""
        trial = self._running[number]
        trial.report(value, epoch)
        return number != PRESENT and trial.should_prune()

    def end(self, ended: EndedTrial) -> Mapping[str, Any]:
        """Take that a trial is over, and return what the pruner wants to know of it later."""
        from optuna.trial import TrialState

        trial = self._running.pop(ended.number)
        if ended.state == "finished":
            told = self._study.tell(trial, ended.value)
        else:
            told = self._study.tell(trial, state=TrialState.PRUNED if _teaches(ended) else TrialState.FAIL)
        return told.system_attrs

    def add(self, ended: EndedTrial) -> None:
        """Take a trial that was over before this process began."""
        from optuna.trial import TrialState, create_trial

        is_inside = ended.number != PRESENT or self._is_present_inside
        state = TrialState.COMPLETE if ended.state == "finished" else TrialState.PRUNED
        self._study.add_trial(
            create_trial(
                state=state if _teaches(ended) else TrialState.FAIL,
                value=ended.value if ended.state == "finished" else None,
                params=dict(ended.settings) if is_inside else {},
                distributions=self._space if is_inside else {},
                intermediate_values=dict(enumerate(ended.course, start=1)),
                system_attrs=dict(ended.memory),
            )
        )

    def importance(self) -> dict[str, float]:
        """Return how much of what values differ by goes with a setting; empty where that cannot be said."""
        import optuna
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        finished = self._study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.COMPLETE,))
        searched = [trial for trial in finished if trial.params]
        if len(searched) < _FEWEST_FOR_IMPORTANCE or len({trial.value for trial in searched}) == 1:
            return {}
        found = get_param_importances(
            self._study, evaluator=FanovaImportanceEvaluator(seed=self._config.seed), params=list(self._space)
        )
        return {name: min(max(float(share), 0.0), 1.0) for name, share in found.items()}

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        import optuna

        with warnings.catch_warnings():  # an argument that may change some day
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=(self._config.seed * 1_000_003 + number) % 2**32,
                n_startup_trials=min(_MOST_AT_RANDOM, max(2, self._config.trials // 3)),
                constant_liar=self._config.parallel > 1,
            )


def _teaches(ended: EndedTrial) -> bool:
    """Tell whether a trial says something about its settings, and not about the machine."""
    return ended.state != "failed" or ended.is_hopeless


def _distribution(name: str, values: Values) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if values.choices:
        return CategoricalDistribution(values.choices)
    assert values.low is not None
    assert values.high is not None
    if name in WHOLE:
        step = int(values.step or 1)
        high = int(values.high)
        return IntDistribution(int(values.low), high - (high - int(values.low)) % step, log=values.log, step=step)
    return FloatDistribution(values.low, values.high, log=values.log, step=values.step)


def _settings(params: Mapping[str, Any]) -> Settings:
    return {name: int(value) if name in WHOLE else value for name, value in params.items()}  # type: ignore[misc]


def _pruner(config: SearchConfig) -> optuna.pruners.BasePruner:
    import optuna

    if config.early_stop == "median":
        # The first epoch of a trial says little, and so do the first trials of a search.
        return optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2)
    if config.early_stop == "halving":
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    return optuna.pruners.NopPruner()
