"""Files of tensors."""

import torch

from pyrosynth.training.state import read_tensors, write_tensors


def test_what_is_written_is_read(tmp_path):
    """Also where tensors share their memory, lie across it, or are part of a graph."""
    whole = torch.arange(12.0).reshape(3, 4).requires_grad_()
    tensors = {
        "whole": whole,
        "same": whole,
        "across": whole.T,
        "part": whole[1],
        "one": 2 * whole,
    }
    write_tensors(tmp_path / "file.safetensors", tensors, {"step": 3})
    read, info = read_tensors(tmp_path / "file.safetensors")
    assert info == {"step": 3}
    assert read.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(read[name], tensor), name
