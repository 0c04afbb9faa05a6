"""Notes on the sound output of the machine that the server runs on, where there is one."""

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyrosynth.audio.io import Audio
from pyrosynth.errors import InputError

VOICES = 32  # notes that sound at once; of one more, the oldest ends
LEVEL = 0.5  # of a note, so that several fit
LETTING_GO_SECONDS = 0.06  # in which a note fades once its key is let go


class Mixer:
    """Adds up notes that sound at once, block by block; may be used from any thread.

    Args:
        rate: Samples a second.
    """

    def __init__(self, rate: int) -> None:
        self._fade = np.linspace(1.0, 0.0, int(LETTING_GO_SECONDS * rate), dtype=np.float32)
        self._notes: list[tuple[int, Audio]] = []  # pitch, and what is left of its sound
        self._lock = Lock()

    def __len__(self) -> int:
        """Return how many notes sound."""
        return len(self._notes)

    def play(self, pitch: int, audio: Audio) -> None:
        """Let a note sound from the next block on.

        Args:
            pitch: MIDI number by which it can be let go; what sounds at it fades.
            audio: Shape (n_samples,).
        """
        with self._lock:
            self._fade_out(pitch)
            self._notes = [*self._notes, (pitch, LEVEL * audio)][-VOICES:]

    def let_go(self, pitch: int) -> None:
        """Let the notes of a pitch fade."""
        with self._lock:
            self._fade_out(pitch)

    def block(self, n: int) -> NDArray[np.float32]:
        """Return the next samples, shape (n,), from -1 to 1."""
        mixed = np.zeros(n, np.float32)
        with self._lock:
            notes, self._notes = self._notes, []
            for pitch, left in notes:
                mixed[: len(left)] += left[:n]
                if len(left) > n:
                    self._notes.append((pitch, left[n:]))
        return np.clip(mixed, -1.0, 1.0)

    def _fade_out(self, pitch: int) -> None:
        for i, (other, left) in enumerate(self._notes):
            if other == pitch:
                last = left[: len(self._fade)]
                self._notes[i] = (-1, last * self._fade[: len(last)])


class Speaker:
    """The sound output of this machine, opened for as long as it is needed.

    Args:
        rate: Samples a second of what is played.

    Raises:
        InputError: There is no sound output, or nothing that plays on it is installed.
    """

    def __init__(self, rate: int) -> None:
        try:
            import sounddevice
        except ModuleNotFoundError as error:
            raise InputError(
                "playing needs 'sounddevice'; install it: pip install 'pyrosynth[play]'"
            ) from error
        except OSError as error:  # the library that it calls
            raise InputError(
                f"playing needs PortAudio ({error}); install it, such as by apt install "
                "libportaudio2"
            ) from error
        self._device, self._rate = sounddevice, rate
        self._mixer = Mixer(rate)
        self._stream = self._opened()

    def play(self, pitch: int, audio: Audio) -> None:
        """Let a note sound, see `Mixer.play`.

        Raises:
            InputError: The sound output has gone, and there is no other.
        """
        if not self._stream.active:  # it was unplugged; there may be another
            self._stream.close()
            self._stream = self._opened()
        self._mixer.play(pitch, audio)

    def let_go(self, pitch: int) -> None:
        """Let the notes of a pitch fade."""
        self._mixer.let_go(pitch)

    def close(self) -> None:
        """Fall silent, and give the sound output back."""
        self._stream.close()

    def _opened(self) -> Any:
        def fill(block: NDArray[np.float32], n: int, time: Any, status: Any) -> None:
            block[:, 0] = self._mixer.block(n)

        try:
            stream = self._device.OutputStream(
                samplerate=self._rate, channels=1, dtype="float32", latency="low", callback=fill
            )
            stream.start()
        except self._device.PortAudioError as error:
            raise InputError(
                f"there is no sound output to play on ({error}); connect one, or leave out "
                "--play: /note answers with a sound file where there is --out"
            ) from error
        return stream
