"""Health check of docker-compose.yaml's containers, with nothing but Python's own library.

``healthy.py URL [PART]``: the URL must answer with a success; with a part, Airflow's own word on it must be "healthy".
"""

from __future__ import annotations

import json
import sys
import urllib.request


def main(url: str, part: str | None = None) -> int:
    """Return 0 when all is well.

    :param url: for a part: the API server's ``/api/v2/monitor/health``, which tells of every part's heartbeat.
    :param part: ``scheduler``, ``triggerer`` or ``dag_processor``.
    """
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - the URL is the compose file's
            status = json.load(answer)[part]["status"] if part else "healthy"
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{url}: {error}")
    return 0 if status == "healthy" else sys.exit(f"{part}: {status}")


if __name__ == "__main__":
    main(*sys.argv[1:])
