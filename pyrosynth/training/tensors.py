"""Files of tensors and text, written whole or not at all, and read without running code."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from pyrosynth.errors import RunError, reading
from pyrosynth.files import write_bytes


def write_tensors(path: Path, tensors: dict[str, Tensor], info: dict[str, Any]) -> None:
    """Write tensors as safetensors, with JSON in the header: one file, so they always agree.

    Args:
        path: Where to write.
        tensors: What to write, by name.
        info: JSON-ready facts that belong to the tensors.

    Raises:
        InputError: The file cannot be written.
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
    if not path.exists():
        raise RunError(f"'{path}' is missing; the run is incomplete")
    with reading(RunError, f"'{path}' is damaged", "delete it or fit again"):
        with safetensors.safe_open(path, framework="pt", device=str(device)) as file:
            info = json.loads(file.metadata()["info"])
            return {name: file.get_tensor(name) for name in file.keys()}, info  # noqa: SIM118
