"""Is ``python -m local_services.pipelines.worker``; compose files of before the upgrade start it by this name."""

from local_services.pipelines.worker import main

if __name__ == "__main__":
    main()
