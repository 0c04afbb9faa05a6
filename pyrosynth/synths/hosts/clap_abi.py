"""The C structures of CLAP plugins, as the public headers of CLAP 1.1 lay them out."""

import ctypes as C
from collections.abc import Callable, Sequence
from typing import Any

NOTE_ON, NOTE_OFF, PARAM_VALUE, MIDI = 0, 1, 5, 10  # types of events
VOID, U32, TEXT = C.c_void_p, C.c_uint32, C.c_char_p
Bool, Double = C.c_bool, C.c_double


class Version(C.Structure):
    """clap_version_t."""

    _fields_ = [("major", U32), ("minor", U32), ("revision", U32)]


class Descriptor(C.Structure):
    """clap_plugin_descriptor_t."""

    _fields_ = [
        ("clap_version", Version),
        ("id", TEXT),
        ("name", TEXT),
        ("vendor", TEXT),
        ("url", TEXT),
        ("manual_url", TEXT),
        ("support_url", TEXT),
        ("version", TEXT),
        ("description", TEXT),
        ("features", C.POINTER(TEXT)),
    ]


class Entry(C.Structure):
    """clap_plugin_entry_t."""

    _fields_ = [
        ("clap_version", Version),
        ("init", C.CFUNCTYPE(Bool, TEXT)),
        ("deinit", C.CFUNCTYPE(None)),
        ("get_factory", C.CFUNCTYPE(VOID, TEXT)),
    ]


class Host(C.Structure):
    """clap_host_t."""

    _fields_ = [
        ("clap_version", Version),
        ("host_data", VOID),
        ("name", TEXT),
        ("vendor", TEXT),
        ("url", TEXT),
        ("version", TEXT),
        ("get_extension", C.CFUNCTYPE(VOID, VOID, TEXT)),
        ("request_restart", C.CFUNCTYPE(None, VOID)),
        ("request_process", C.CFUNCTYPE(None, VOID)),
        ("request_callback", C.CFUNCTYPE(None, VOID)),
    ]


class AudioBuffer(C.Structure):
    """clap_audio_buffer_t."""

    _fields_ = [
        ("data32", VOID),
        ("data64", VOID),
        ("channel_count", U32),
        ("latency", U32),
        ("constant_mask", C.c_uint64),
    ]


class _Header(C.Structure):
    _fields_ = [
        ("size", U32),
        ("time", U32),
        ("space_id", C.c_uint16),
        ("type", C.c_uint16),
        ("flags", U32),
    ]


class NoteEvent(C.Structure):
    """clap_event_note_t."""

    _fields_ = [
        ("header", _Header),
        ("note_id", C.c_int32),
        ("port_index", C.c_int16),
        ("channel", C.c_int16),
        ("key", C.c_int16),
        ("velocity", Double),
    ]


class ValueEvent(C.Structure):
    """clap_event_param_value_t."""

    _fields_ = [
        ("header", _Header),
        ("param_id", U32),
        ("cookie", VOID),
        ("note_id", C.c_int32),
        ("port_index", C.c_int16),
        ("channel", C.c_int16),
        ("key", C.c_int16),
        ("value", Double),
    ]


class MidiEvent(C.Structure):
    """clap_event_midi_t."""

    _fields_ = [("header", _Header), ("port_index", C.c_uint16), ("data", C.c_uint8 * 3)]


Event = NoteEvent | ValueEvent | MidiEvent


def note_event(time: int, down: bool, key: int, velocity: float) -> NoteEvent:
    """Return a key going down or up, with a velocity from 0 to 1."""
    head = _Header(C.sizeof(NoteEvent), time, 0, NOTE_ON if down else NOTE_OFF, 0)
    return NoteEvent(head, -1, 0, 0, key, velocity)


def value_event(parameter: int, value: float) -> ValueEvent:
    """Return a parameter taking a value, for all notes."""
    head = _Header(C.sizeof(ValueEvent), 0, 0, PARAM_VALUE, 0)
    return ValueEvent(head, parameter, None, -1, -1, -1, -1, value)


def midi_event(time: int, message: Sequence[int]) -> MidiEvent:
    """Return a MIDI message of three bytes."""
    head = _Header(C.sizeof(MidiEvent), time, 0, MIDI, 0)
    return MidiEvent(head, 0, (C.c_uint8 * 3)(*message))


class InputEvents(C.Structure):
    """clap_input_events_t."""

    _fields_ = [
        ("ctx", VOID),
        ("size", C.CFUNCTYPE(U32, VOID)),
        ("get", C.CFUNCTYPE(VOID, VOID, U32)),
    ]


class OutputEvents(C.Structure):
    """clap_output_events_t."""

    _fields_ = [("ctx", VOID), ("try_push", C.CFUNCTYPE(Bool, VOID, VOID))]


class Process(C.Structure):
    """clap_process_t."""

    _fields_ = [
        ("steady_time", C.c_int64),
        ("frames_count", U32),
        ("transport", VOID),
        ("audio_inputs", C.POINTER(AudioBuffer)),
        ("audio_outputs", C.POINTER(AudioBuffer)),
        ("audio_inputs_count", U32),
        ("audio_outputs_count", U32),
        ("in_events", C.POINTER(InputEvents)),
        ("out_events", C.POINTER(OutputEvents)),
    ]


class Plugin(C.Structure):
    """clap_plugin_t."""

    _fields_ = [
        ("desc", C.POINTER(Descriptor)),
        ("plugin_data", VOID),
        ("init", C.CFUNCTYPE(Bool, VOID)),
        ("destroy", C.CFUNCTYPE(None, VOID)),
        ("activate", C.CFUNCTYPE(Bool, VOID, Double, U32, U32)),
        ("deactivate", C.CFUNCTYPE(None, VOID)),
        ("start_processing", C.CFUNCTYPE(Bool, VOID)),
        ("stop_processing", C.CFUNCTYPE(None, VOID)),
        ("reset", C.CFUNCTYPE(None, VOID)),
        ("process", C.CFUNCTYPE(C.c_int32, VOID, C.POINTER(Process))),
        ("get_extension", C.CFUNCTYPE(VOID, VOID, TEXT)),
        ("on_main_thread", C.CFUNCTYPE(None, VOID)),
    ]


class Factory(C.Structure):
    """clap_plugin_factory_t."""

    _fields_ = [
        ("get_plugin_count", C.CFUNCTYPE(U32, VOID)),
        ("get_plugin_descriptor", C.CFUNCTYPE(C.POINTER(Descriptor), VOID, U32)),
        ("create_plugin", C.CFUNCTYPE(C.POINTER(Plugin), VOID, C.POINTER(Host), TEXT)),
    ]


class ParamInfo(C.Structure):
    """clap_param_info_t."""

    _fields_ = [
        ("id", U32),
        ("flags", U32),
        ("cookie", VOID),
        ("name", C.c_char * 256),
        ("module", C.c_char * 1024),
        ("min_value", Double),
        ("max_value", Double),
        ("default_value", Double),
    ]


class Params(C.Structure):
    """clap_plugin_params_t."""

    _fields_ = [
        ("count", C.CFUNCTYPE(U32, VOID)),
        ("get_info", C.CFUNCTYPE(Bool, VOID, U32, C.POINTER(ParamInfo))),
        ("get_value", C.CFUNCTYPE(Bool, VOID, U32, C.POINTER(Double))),
        ("value_to_text", C.CFUNCTYPE(Bool, VOID, U32, Double, VOID, U32)),
        ("text_to_value", C.CFUNCTYPE(Bool, VOID, U32, TEXT, C.POINTER(Double))),
        ("flush", C.CFUNCTYPE(None, VOID, C.POINTER(InputEvents), C.POINTER(OutputEvents))),
    ]


class NotePortInfo(C.Structure):
    """clap_note_port_info_t."""

    _fields_ = [
        ("id", U32),
        ("supported_dialects", U32),
        ("preferred_dialect", U32),
        ("name", C.c_char * 256),
    ]


class AudioPortInfo(C.Structure):
    """clap_audio_port_info_t."""

    _fields_ = [
        ("id", U32),
        ("name", C.c_char * 256),
        ("flags", U32),
        ("channel_count", U32),
        ("port_type", TEXT),
        ("in_place_pair", U32),
    ]


class Ports(C.Structure):
    """clap_plugin_note_ports_t and clap_plugin_audio_ports_t."""

    _fields_ = [
        ("count", C.CFUNCTYPE(U32, VOID, Bool)),
        ("get", C.CFUNCTYPE(Bool, VOID, U32, Bool, VOID)),
    ]


Transfer = C.CFUNCTYPE(C.c_int64, VOID, VOID, C.c_uint64)


class Stream(C.Structure):
    """clap_istream_t and clap_ostream_t."""

    _fields_ = [("ctx", VOID), ("transfer", Transfer)]


class State(C.Structure):
    """clap_plugin_state_t."""

    _fields_ = [
        ("save", C.CFUNCTYPE(Bool, VOID, C.POINTER(Stream))),
        ("load", C.CFUNCTYPE(Bool, VOID, C.POINTER(Stream))),
    ]


def input_events(events: Sequence[Event]) -> InputEvents:
    """Return a list of events, which must outlive it."""
    addresses = [C.addressof(event) for event in events]
    size: Callable[[Any], int] = lambda _: len(addresses)  # noqa: E731
    get: Callable[[Any, int], int] = lambda _, index: addresses[index]  # noqa: E731
    return InputEvents(None, InputEvents._fields_[1][1](size), InputEvents._fields_[2][1](get))


def output_events() -> OutputEvents:
    """Return a list that takes every event and forgets it."""
    return OutputEvents(None, OutputEvents._fields_[1][1](lambda *_: True))
