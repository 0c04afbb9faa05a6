"""The files of a dataset on a disk, as Zarr reads and writes them."""

from pathlib import Path
from typing import Any

from zarr.core.buffer import Buffer
from zarr.storage import LocalStore

from pyrosynth.data.location import is_remote
from pyrosynth.files import regular_file


class _Files(LocalStore):
    """Files in a folder that is written by one process alone, see `pyrosynth.files.claim`."""

    async def get(self, key: str, *options: Any, **more: Any) -> Any:
        """Read a file, None if there is none; a pipe is refused, not awaited for ever."""
        if (self.root / key).exists():
            regular_file(self.root / key)
        return await super().get(key, *options, **more)

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        """Write a file that is not there; without a hard link, which exFAT does not know."""
        if not await self.exists(key):
            await self.set(key, value)


def for_zarr(path: Path) -> _Files | str:
    """Return a place as Zarr takes it."""
    return str(path) if is_remote(path) else _Files(path)
