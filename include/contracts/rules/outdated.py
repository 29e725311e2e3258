"""Whether a candidate was compared with what is live now."""

from __future__ import annotations

from include.contracts.candidate import Candidate


def outdated_by(candidate: Candidate, *, live_version: str | None, live_at_start: str | None) -> str | None:
    """Return the live version whose place the candidate may not take, ``None`` when it may.

    Somebody may have put another version back since, or released something else, or cleared the tasks of an old run.
    Where nothing is live any more there is nothing to be worse than.

    :param live_version: what is live now.
    :param live_at_start: what was live when the release began; counts where the candidate could not be compared, with
        a live model that knows other labels, say.
    """
    expected = candidate.compared_version or live_at_start
    return None if live_version in (None, candidate.version, expected) else live_version
