"""Out-of-domain sounds: instruments, drums and voices that no synth of the package made.

    python -m benchmarks.outside --out outside --each 10

Programs of the Debian distribution, fetched without root, play them at the note a model was
trained on. They test it where there is no true preset; nothing is ever trained on them. The same
command makes the same bytes on the same machine.
"""
