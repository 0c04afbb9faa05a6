"""Files of tensors and text, written whole or not at all, and read without running code."""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pyrosynth.errors import RunError


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically: an existing one is replaced only once the new one is whole.

    Raises:
        RunError: It cannot be written, for example on a full disk.
    """
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RunError(
            f"cannot write '{path}' ({error.strerror or error}); free space or choose another "
            "folder, what was there before is untouched"
        ) from error


def write_tensors(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write tensors as safetensors, with JSON in the header: one file, so they always agree.

    Args:
        path: Where to write.
        tensors: What to write, by name.
        info: JSON-ready facts that belong to the tensors.

    Raises:
        RunError: The file cannot be written.
    """
    # Clones, as tensors that share their memory are refused.
    whole = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    write_bytes(path, safetensors.torch.save(whole, {"info": json.dumps(info)}))


def read_tensors(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], Any]:
    """Read what ``write_tensors`` wrote.

    Returns:
        The tensors, on the device, and the facts.

    Raises:
        RunError: The file is missing or damaged.
    """
    try:
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            info = json.loads(file.metadata()["info"])
            return {name: file.get_tensor(name) for name in file.keys()}, info  # noqa: SIM118
    except FileNotFoundError as error:
        raise RunError(f"'{path}' is missing; the run is incomplete") from error
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"'{path}' is damaged ({error}); delete it or fit again") from error
