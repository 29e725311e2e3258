"""Variables that tell a server whether it captures requests; who looks only at them loads nothing else."""

from __future__ import annotations

#: That section of a version's settings, as JSON. Empty: nothing is captured.
SETTINGS_VARIABLE = "MODEL_CAPTURE"

#: The same of a server with several models: the file that has the settings of their versions, and the folder that has
#: ``include``, which is in no archive.
RECORD_VARIABLE, CODE_VARIABLE = "MODEL_CAPTURE_RECORD", "MODEL_CAPTURE_CODE"
