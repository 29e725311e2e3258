"""Takes the released archive out of a package, for whichever server: out of reach of whoever may write there."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
from pathlib import Path

import yaml

from include.classifier.packaging.archive import check_names, sha256_of
from include.classifier.packaging.server_settings import config_of, settings_of
from include.contracts.version.archives import check_archive

_CHUNK_BYTES = 1 << 20

#: Variable with the digest of the archive that a release was made from; empty or absent: any will do.
ARCHIVE_SHA256 = "ARCHIVE_SHA256"


class PackageError(ValueError):
    """The folder holds no package; the message says what is missing."""


def pin(package: Path, target: Path, sha256: str | None) -> str:
    """Copy the archive that is served, and write the server's settings, both out of reach of whoever may write there.

    Nothing but the archive decides what is run and how: the ``config.properties`` of the package is for other servers.

    :param package: folder with ``model-store/``.
    :param target: becomes a package of the same layout; absent or empty.
    :param sha256: hex digest that the archive must have; ``None``: any will do, where there is one archive alone.
    :return: the name under which the model is served.
    :raises PackageError: when the archive is not there, or no other can be told from it.
    """
    store = target / "model-store"
    store.mkdir(parents=True)
    archives = sorted((package / "model-store").glob("*.mar"))
    if not archives:
        raise PackageError(
            f"{package / 'model-store'} holds no archive: mount the folder of a package, "
            "<store>/<model>/<version>/package."
        )
    if sha256 is None and len(archives) > 1:
        names = ", ".join(archive.name for archive in archives)
        raise PackageError(f"{package / 'model-store'} holds {names}: say with ${ARCHIVE_SHA256} which is served.")
    found = []
    for archive in archives:
        copy = store / archive.name
        digest = _copy(archive, copy)
        if sha256 in (None, digest):
            return _configure(target, copy)
        copy.unlink()
        found.append(f"{archive.name} has SHA-256 {digest}")
    raise PackageError(
        f"{package / 'model-store'} does not hold the archive that was released (SHA-256 {sha256}): "
        f"{', '.join(found)}. Somebody changed it in the model store; train and release a new version."
    )


def _copy(archive: Path, copy: Path) -> str:
    """Return the digest of what was copied."""
    try:
        # Whoever writes the store may have put a link, a pipe or a device there.
        with os.fdopen(os.open(archive, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as source:
            if not stat.S_ISREG(os.fstat(source.fileno()).st_mode):
                raise PackageError(f"{archive} is no regular file: release a new version.")
            with copy.open("xb") as sink:
                shutil.copyfileobj(source, sink, _CHUNK_BYTES)
    except OSError as error:
        raise PackageError(f"{archive} cannot be copied to {copy.parent}: {error.strerror}.") from error
    return sha256_of(copy)


def _configure(package: Path, archive: Path) -> str:
    """Write the settings for an archive, by what stands in it, and return the model's name."""
    try:
        with zipfile.ZipFile(archive) as entries:
            manifest = check_archive(entries, where=archive.name)["model"]
            given = yaml.safe_load(entries.read(manifest["configFile"])) if "configFile" in manifest else {}
        name, version = str(manifest["modelName"]), str(manifest["modelVersion"])
        check_names(name, version)
        settings = config_of(name, version, settings_of(given))
    except (zipfile.BadZipFile, KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError) as error:
        raise PackageError(f"{archive.name} is no archive that this project made: {error!r}.") from error
    archive.rename(archive.with_name(f"{name}.mar"))
    config = package / "config" / "config.properties"
    config.parent.mkdir()
    config.write_text(settings, encoding="utf-8")
    return name
