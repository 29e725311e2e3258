"""Is ``python -m local_services.torchserve.server``; compose files of before the upgrade start it by this name."""

from local_services.torchserve.server import main

if __name__ == "__main__":
    main()
