"""Sounds that no synth of the package made, to test on."""
