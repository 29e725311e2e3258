"""Functions that tests make components of; kfp reads their annotations, which must not be text."""
# ruff: noqa: T201 - what stands in a component is self-contained source


def silent() -> None:
    import sys

    sys.exit(3)


def named(name: str) -> None:
    print(f"I am {name}")


def uses_its_package() -> None:
    from importlib.metadata import version

    import its_package

    print(f"version {version('its-package')} of {its_package.__file__}")
