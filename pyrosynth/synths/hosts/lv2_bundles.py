"""Where the bundles of LV2 plugins are on this machine, and which of them holds a plugin."""

import logging
import os
from contextlib import suppress
from pathlib import Path

from pyrosynth.errors import InputError, SynthError
from pyrosynth.files import expanded, is_there
from pyrosynth.synths.hosts.lv2_files import Bundle

log = logging.getLogger(__name__)


def folders() -> list[Path]:
    """Return the folders of ``LV2_PATH``, or the standard ones."""
    given = [expanded(part) for part in os.environ.get("LV2_PATH", "").split(":") if part]
    roots = [Path(root) for root in ("/usr/local/lib", "/usr/lib", "/usr/lib64")]
    roots += sorted(Path("/usr/lib").glob("*-linux-*"))
    return given or [expanded("~/.lv2"), *(root / "lv2" for root in roots)]


def bundles() -> list[Path]:
    """Return the bundles in the folders of this machine."""
    listed: list[Path] = []
    for folder in folders():
        with suppress(OSError):  # most of the usual ones are not there
            listed += sorted(folder.iterdir())
    return [place for place in listed if is_there(place / "manifest.ttl")]


def locate(uri: str) -> Path:
    """Return the bundle that holds a plugin, of several that with the newest version.

    Raises:
        InputError: None on this machine does; what cannot be read of others is in the log.
    """
    damaged, found = [], dict[str, Bundle]()
    for path in bundles():
        try:
            if uri in (bundle := Bundle(path)).uris:
                found.setdefault(os.path.realpath(path), bundle)
        except SynthError as error:
            damaged.append(error)
    if found:
        newest = max(found.values(), key=lambda bundle: bundle.version(uri))
        if len(found) > 1:
            other = next(bundle.path for bundle in found.values() if bundle is not newest)
            log.warning(
                "'%s' is in %d bundles, of which '%s' is taken: none is newer; give the path of "
                "another, such as '%s'", uri, len(found), newest.path, other,
            )  # fmt: skip
        return newest.path
    for one in damaged:
        log.warning("left out: %s", one)
    raise InputError(f"no LV2 plugin '{uri}' in {', '.join(map(str, folders()))}")
