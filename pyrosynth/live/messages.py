"""The messages of the protocol: what each of them does to a session, by address."""

import os
from itertools import chain
from pathlib import Path

import numpy as np

from pyrosynth._version import __version__
from pyrosynth.audio.io import save_audio
from pyrosynth.errors import InputError, integer, number, unknown
from pyrosynth.files import unrepeated_keys, writable, write_bytes
from pyrosynth.live.analysis import sweep
from pyrosynth.live.controllers import HIGHEST, Controller
from pyrosynth.live.files import is_plain
from pyrosynth.live.protocol import MESSAGES as MESSAGES
from pyrosynth.live.protocol import PROTOCOL, Answer, Arguments, Session, message

PAGE = 50  # presets named in one answer, at most
FILES = 1024  # with names that clients give, which a server writes; 360 MB as sounds of 4 s
LONGEST_BYTES = 200  # of such a name; file systems take 255, and its ending is added


def pairs(arguments: Arguments) -> dict[str, float]:
    """Read names and numbers in turn.

    Raises:
        InputError: A name is there twice, or what should be a number is none.
    """
    told = zip(map(str, arguments[::2]), arguments[1::2], strict=True)
    try:
        return unrepeated_keys([(name, number(f"'{name}'", value)) for name, value in told])
    except ValueError as error:
        raise InputError(f"{error}; name each axis once") from error


def switch(arguments: Arguments) -> bool:
    """Read whether something is to be on.

    Raises:
        InputError: It is neither 0 nor 1, nor what OSC has for them, F and T.
    """
    (on,) = arguments
    return on if isinstance(on, bool) else bool(integer("switch", on, 0, 1))


@message("/ping", "", "/pong", "Protocol and version of the server.")
def _ping(session: Session, arguments: Arguments) -> list[Answer]:
    return [("/pong", [PROTOCOL, __version__])]


@message("/protocol", "number", "/protocol", "Ask for a protocol; another than 3 is an error.")
def _protocol(session: Session, arguments: Arguments) -> list[Answer]:
    (asked,) = arguments
    if asked != PROTOCOL:
        raise InputError(f"protocol {asked}: this server speaks {PROTOCOL}; adapt or change it")
    return [("/protocol", [PROTOCOL])]


@message(
    "/listen",
    "port",
    "/listening",
    "Send answers to this port of the sender from now on; 0: to where each message came from.",
)
def _listen(session: Session, arguments: Arguments) -> list[Answer]:
    (port,) = arguments
    wanted = integer("port", port, 0, 65535)
    if wanted == session.server_port:
        raise InputError(f"port {wanted} is the server's own; give the one at which you listen")
    session.port = wanted or None
    return [("/listening", [wanted])]


@message(
    "/state", "", "/state",
    "Protocol, model, synth, size of the latent, number of parameters, of presets, of controls; "
    "name of the current preset, length of the path.",
)  # fmt: skip
def _state(session: Session, arguments: Arguments) -> list[Answer]:
    live = session.live
    run = live.posterior.run
    counts = [live.space.dim, len(run.full_space), len(live.space), len(live.controls)]
    what = [type(run.variant).__name__, live.posterior.synth.name]
    return [("/state", [PROTOCOL, *what, *counts, session.name, len(session.path)])]


@message("/params", "", "/params", "Name and native value of every parameter, in turn.")
def _params(session: Session, arguments: Arguments) -> list[Answer]:
    return [("/params", session.params())]


@message("/learnt", "", "/learnt", "Names of the parameters that the model controls.")
def _learnt(session: Session, arguments: Arguments) -> list[Answer]:
    return [("/learnt", list(session.live.posterior.run.space.names))]


@message("/param", "name", "/param", "Name, kind, minimum, maximum, default, unit; then labels.")
def _param(session: Session, arguments: Arguments) -> list[Answer]:
    (name,) = arguments
    space = session.live.posterior.run.full_space
    param = space.params[int(space.index([str(name)])[0])]
    ends = [float(param.minimum), float(param.maximum), float(param.default)]
    return [("/param", [param.name, param.kind, *ends, param.unit, *param.labels])]


@message(
    "/z",
    "[number ...]",
    "/params /z",
    "Go to a latent, at most 10 or the farthest preset out; without numbers, tell where it is.",
)
def _z(session: Session, arguments: Arguments) -> list[Answer]:
    if not arguments:
        return [("/z", session.place.z.tolist())]
    return session.go(session.live.at([number("latent", a) for a in arguments]))


@message("/reset", "", "/params /z", "Go to the origin, the middle of all presets.")
def _reset(session: Session, arguments: Arguments) -> list[Answer]:
    return session.go(session.live.space.place(None), "origin")


@message("/random", "[seed]", "/params /z", "Go to a random but plausible preset.")
def _random(session: Session, arguments: Arguments) -> list[Answer]:
    (seed,) = arguments or [int(np.random.default_rng().integers(2**31))]
    seed = integer("seed", seed)
    return session.go(session.live.random(seed), f"random {seed}")


@message("/freeze", "0|1", "/freeze", "Whether /decode keeps the other axes (1, the default).")
def _freeze(session: Session, arguments: Arguments) -> list[Answer]:
    session.frozen = switch(arguments)
    return [("/freeze", [int(session.frozen)])]


@message(
    "/decode", "axis position ...", "/params /z",
    "Set positions on axes, from -6 to 6 or as far out as presets are; the others stay, or are 0 "
    "after /freeze 0.",
)  # fmt: skip
def _decode(session: Session, arguments: Arguments) -> list[Answer]:
    start = session.place if session.frozen else session.live.space.place(None)
    return session.go(session.live.move(start, pairs(arguments)))


@message(
    "/move",
    "axis step ...",
    "/params /z",
    "Move along axes from here: brightness -1. It ends at -6 and 6, or as far out as presets are.",
)
def _move(session: Session, arguments: Arguments) -> list[Answer]:
    return session.go(session.live.move(session.place, pairs(arguments), by=True))


@message("/axes", "", "/axes", "Name and position of every control, in turn.")
def _axes(session: Session, arguments: Arguments) -> list[Answer]:
    return [("/axes", list(chain.from_iterable(session.live.positions(session.place.z).items())))]


@message(
    "/axis", "name", "/axis",
    "Name, kind, names of its ends, position; then the parameters it moves most.",
)  # fmt: skip
def _axis(session: Session, arguments: Arguments) -> list[Answer]:
    (name,) = arguments
    live = session.live
    if name not in live.controls:
        raise unknown("control", str(name)[:80], live.controls)
    control = live.controls[str(name)]
    position = float(control.axis.position(session.place.z))
    return [("/axis", [control.name, control.kind, *control.ends, position, *control.moves])]


@message(
    "/analysis", "axis [n]", "/curve ... /analysed",
    "Sweep an axis from -4 to 4 in n (33) steps through the current point: /curve axis parameter "
    "name value ..., then /curve axis descriptor name value ... of what the synth renders, NaN "
    "where it gives no sound; an /error names these positions.",
    slow=True,
)  # fmt: skip
def _analysis(session: Session, arguments: Arguments) -> list[Answer]:
    name, n = (*arguments, 33) if len(arguments) == 1 else arguments
    name, n = str(name), integer("number of positions", n, 2, 101)
    curves = sweep(session.live, session.place, name, n)
    return [*curves, ("/analysed", [name, n])]


@message("/presets", "[start [n]]", "/presets", "Start, number of all, n (50) names.")
def _presets(session: Session, arguments: Arguments) -> list[Answer]:
    usual: Arguments = [0, PAGE]
    start, n = [*arguments, *usual[len(arguments) :]]
    start, n = integer("first preset", start, 0), integer("number of presets", n, 1, PAGE)
    names = session.live.space.names
    return [("/presets", [start, len(names), *names[start : start + n]])]


@message("/search", "text", "/found", "Names of presets that contain a text, 50 at most.")
def _search(session: Session, arguments: Arguments) -> list[Answer]:
    (text,) = (str(a).casefold() for a in arguments)
    names = session.live.space.names
    matching: Arguments = [name for name in names if text in name.casefold()]
    return [("/found", matching[:PAGE])]


@message("/load", "name", "/params /z", "Go to a known preset.")
def _load(session: Session, arguments: Arguments) -> list[Answer]:
    (name,) = map(str, arguments)
    return session.go(session.live.space.place(name), name)


@message("/near", "[n]", "/near", "Name and distance in dB of n (8) presets that sound alike.")
def _near(session: Session, arguments: Arguments) -> list[Answer]:
    (n,) = arguments or [min(8, len(session.live.space))]
    n = integer("number of presets", n, 1, PAGE)
    return [("/near", list(chain.from_iterable(session.live.near(session.place.z, n))))]


@message("/sounds", "", "/sounds", "Sound files that /encode may read.", slow=True)
def _sounds(session: Session, arguments: Arguments) -> list[Answer]:
    return [("/sounds", list(session.live.files.sounds()[:PAGE]))]


@message(
    "/encode", "file", "/params /z /encoded",
    "Go to the preset of a sound of any pitch, a file in a folder given at the start; then file, "
    "distance in dB to what the synth renders, and the note that plays what was heard: MIDI "
    "number, cents above it, seconds to hold it.",
    slow=True,
)  # fmt: skip
def _encode(session: Session, arguments: Arguments) -> list[Answer]:
    (name,) = map(str, arguments)
    live = session.live
    match, way = live.encode(live.files.sound(name))
    note, cents = live.posterior.run.note, 0.0
    if way.tuned:
        note, cents = way.tuned.note, float(way.tuned.cents)
    told: Arguments = [name, match.lsd_db, note.pitch, cents, note.hold_seconds]
    return [*session.go(match.place, name), ("/encoded", told)]


@message("/path/clear", "", "/path", "Forget the path.")
def _path_clear(session: Session, arguments: Arguments) -> list[Answer]:
    session.path.clear()
    return [("/path", [0])]


@message("/path/add", "[name]", "/path", "Add a known preset, or the current one, to the path.")
def _path_add(session: Session, arguments: Arguments) -> list[Answer]:
    place = session.place
    if arguments:
        (name,) = map(str, arguments)
        place = session.live.space.place(name)
    session.add_to_path(place)
    return [("/path", [len(session.path)])]


@message("/path/knobs", "0|1", "/path/knobs", "Whether the path is straight in knobs, not in z.")
def _path_knobs(session: Session, arguments: Arguments) -> list[Answer]:
    session.straight = switch(arguments)
    return [("/path/knobs", [int(session.straight)])]


@message("/path/play", "ratio", "/params /z", "Go to where the path is at a ratio from 0 to 1.")
def _path_play(session: Session, arguments: Arguments) -> list[Answer]:
    (ratio,) = arguments
    return session.follow_path(ratio)


@message(
    "/render", "name", "/rendered",
    "Write what the synth renders here as name.wav into the folder given at the start.",
    slow=True,
)  # fmt: skip
def _render(session: Session, arguments: Arguments) -> list[Answer]:
    (name,) = map(str, arguments)
    live = session.live
    file = _target(session, name, ".wav")
    sound = live.render(session.place.values)
    save_audio(file, sound.audio, live.posterior.run.features.sample_rate)
    live.files.wrote(file)
    session.wrote.add(file)
    return [("/rendered", [str(file)])]


@message(
    "/save", "name", "/saved",
    "Write the preset, in the synth's own format if it has one, into the folder given at the "
    "start.",
    slow=True,
)  # fmt: skip
def _save(session: Session, arguments: Arguments) -> list[Answer]:
    (name,) = map(str, arguments)
    suffix, content = session.live.files.bank([(name, session.place.values)])
    file = _target(session, name, suffix)
    write_bytes(file, content)
    session.live.files.wrote(file)
    session.wrote.add(file)
    return [("/saved", [str(file)])]


@message(
    "/note", "pitch [velocity [seconds]]", "/noted",
    "Play a note, by MIDI numbers, held for as long as the run's note at most: it sounds if the "
    "server was started with --play, and is a WAV file in the folder given at the start, if there "
    "is one. Velocity 0 lets go. Pitch, velocity, seconds, file; those that there are not are 0 "
    "and empty.",
    slow=True, lane="notes",
)  # fmt: skip
def _note(session: Session, arguments: Arguments) -> list[Answer]:
    live, own = session.live, session.live.posterior.run.note
    usual: Arguments = [own.pitch, own.velocity, own.hold_seconds]
    pitch, velocity, hold = [*arguments, *usual[len(arguments) :]]
    if velocity == 0:
        pitch = live.note(pitch, hold).pitch
        if live.speaker:
            live.speaker.let_go(pitch)
        return [("/noted", [pitch, 0, 0.0, ""])]
    note = live.note(pitch, hold, velocity)
    if session.out is None and live.speaker is None:
        raise InputError(
            "nowhere to play; start the server with --play to hear notes from this machine, or "
            "with --out FOLDER to have their sound files"
        )
    audio, file = live.render(session.place.values, note).audio, ""
    if live.speaker:
        live.speaker.play(note.pitch, audio)
    if session.out is not None:
        file = str(live.files.note(audio, note.pitch, Path(session.out) / "notes"))
    return [("/noted", [note.pitch, note.velocity, note.hold_seconds, file])]


@message(
    "/midi", "0|1", "/midi",
    "Whether whatever moves the point is also told as MIDI controllers, for the synth's own "
    "knobs: from now on by /cc channel controller value for each that has changed, first for all.",
)  # fmt: skip
def _midi(session: Session, arguments: Arguments) -> list[Answer]:
    session.tell_midi(switch(arguments))
    return [("/midi", [int(session.tells_midi)])]


@message(
    "/cc", "channel controller value", "/params /z",
    "A MIDI controller has moved: go where the map of controllers says, along an axis. While "
    "/midi is on, those that are told are not answered, as hosts echo them.",
)  # fmt: skip
def _cc(session: Session, arguments: Arguments) -> list[Answer]:
    channel, control, value = arguments
    controller = Controller(
        integer("channel", channel, 1, 16), integer("controller", control, 0, HIGHEST)
    )
    value = integer("value", value, 0, HIGHEST)
    if session.tells_midi and controller in session.live.midi.parameters.values():
        return []  # an echo of what was told, maybe some moves ago
    to = session.live.midi.moved(controller, value)
    return session.go(session.live.move(session.place, to))


@message("/stats", "", "/stats", "What the server has counted: name and number, in turn.")
def _stats(session: Session, arguments: Arguments) -> list[Answer]:
    return [("/stats", list(chain.from_iterable(sorted(session.counts.items()))))]


@message("/stop", "", "/stopped", "End the server; only from the machine it runs on.")
def _stop(session: Session, arguments: Arguments) -> list[Answer]:
    if not session.local:
        raise InputError("only a client on the server's own machine may stop it")
    session.stopped = True
    return [("/stopped", [])]


def _target(session: Session, name: str, suffix: str) -> Path:
    """Return where a file of that name may be written."""
    if session.out is None:
        raise InputError("no folder to write into; start the server with --out FOLDER")
    if not name.strip() or len(name) > 80 or not all(map(is_plain, name)):
        raise InputError(f"'{name[:80]}' cannot name a file; use letters, digits, space, - and _")
    if len(os.fsencode(name)) > LONGEST_BYTES:
        raise InputError(f"'{name}' is too long for a file; give a shorter name")
    file = writable(session.out) / f"{name}{suffix}"
    files = session.live.files
    if file not in files.written and len(files.written) >= FILES:
        raise InputError(
            f"{FILES} files were written, the most of one server; give the name of one of them, "
            "or start it again"
        )
    if not files.may_write(file):
        raise InputError(
            f"'{file.name}' was there before this server, or was changed since; give another name"
        )
    if file.exists() and file not in session.wrote:
        raise InputError(f"'{file.name}' was written for another machine; give another name")
    return file
