"""The keys under which the steps of a release leave what later steps, buttons, cards and alerts read.

Releases that are under way and the pages of those that are over read them too: never rename one.
"""

#: Of the task that brings a candidate up: the version that was live before the release, empty when there was none.
#: Whatever undoes the release depends on it.
PREVIOUS_VERSION = "previous_version"
#: Address that users call for predictions.
ENDPOINT = "endpoint"

#: Of a batch prediction: where it lies, by which version, and how many rows have one.
PREDICTIONS = "predictions"

#: Why a release is not due, in one line.
NOT_DUE = "not_due"
#: What the gate has judged, as :meth:`model_releases.memory.evidence.Evidence.to_json` writes it.
JUDGED = "judged"
#: The gate's word in one line, whichever way it went.
DECISION = "decision"
#: The gate's word with every reason.
GATE = "gate"
#: The settings that the gate decided by.
POLICY = "policy"
#: What the registry keeps of a release that was taken over from another installation.
CARRIED = "carried"
#: What is known of the answer to the question whether a candidate may be released.
APPROVAL = "approval"
#: What went wrong in a task.
FAILURE = "release_failure"

#: Address of the page that shows a release's report.
REPORT_URL = "report_url"
#: Address of the version's page in the registry; left out where that has no pages.
REGISTRY_URL = "registry_url"
#: The release card, a text.
CARD = "card"
#: How the release ended, as :meth:`model_releases.memory.outcome.Outcome.to_json` writes it.
OUTCOME = "outcome"
