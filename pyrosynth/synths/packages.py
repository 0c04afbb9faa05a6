"""Packages of synths and hosts that extras install: whether one is there, in which version."""

import importlib.metadata

from pyrosynth.errors import SynthError


def version_of(package: str, user: str, called: str, extra: str) -> str:
    """Return the version of a package, without importing it.

    Args:
        package: Its name as it is installed.
        user: What needs it, for the error.
        called: What people call it, and its licence.
        extra: The extra of this package that installs it.

    Raises:
        SynthError: It is not installed.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise SynthError(
            f"{user} needs the package {called}; run pip install 'pyrosynth[{extra}]'"
        ) from error
