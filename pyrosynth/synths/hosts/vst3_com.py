"""The interfaces of VST3 in ctypes: tables of methods, structures, objects of plugin and host.

A VST3 plugin and its host talk through COM-like objects: a pointer to a table of functions, of
which each takes the object first. Names, order and layouts are those of the public headers in
``pluginterfaces`` of the VST3 SDK (MIT since 3.8), as compiled on Linux.
"""

import ctypes as C
import functools
from collections.abc import Callable
from typing import Any

OK, FALSE, NO_INTERFACE, NOT_IMPLEMENTED = 0, 1, -1, 3  # results
AUDIO, EVENT, INPUT, OUTPUT = 0, 1, 0, 1  # media types and directions of a bus
READ_ONLY, HIDDEN, PROGRAM_CHANGE, BYPASS = 1 << 1, 1 << 4, 1 << 15, 1 << 16  # of a parameter
NOTE_ON, NOTE_OFF = 0, 1  # types of an event

String128 = C.c_uint16 * 128
# Letters of signatures: what a method takes and, behind ">", returns, else a result; and of the
# members of structures.
TYPES: dict[str, Any] = {
    "p": C.c_void_p,
    "s": C.c_char_p,
    "i": C.c_int32,
    "u": C.c_uint32,
    "h": C.c_int16,
    "b": C.c_uint8,
    "q": C.c_int64,
    "d": C.c_double,
    "v": None,
    "Q": C.c_uint64,
    "f": C.c_float,
    "c": C.c_char,
    "w": C.c_uint16,
}
UNKNOWN = "queryInterface:pp addRef:>u release:>u "
PLUGIN_BASE = UNKNOWN + "initialize:p terminate: "
FACTORY = UNKNOWN + "getFactoryInfo:p countClasses: getClassInfo:ip createInstance:ppp"
INTERFACES = {
    "IPluginFactory": ("7A4D811C52114A1FAED9D2EE0B43BF9F", FACTORY),
    "IPluginFactory2": ("0007B650F24B4C0BA464EDB9F00B2ABB", FACTORY + " getClassInfo2:ip"),
    "IPluginFactory3": (
        "4555A2ABC1234E579B12291036878931",
        FACTORY + " getClassInfo2:ip getClassInfoUnicode:ip setHostContext:p",
    ),
    "IComponent": (
        "E831FF31F2D54301928EBBEE25697802",
        PLUGIN_BASE + "getControllerClassId:p setIoMode:i getBusCount:ii getBusInfo:iiip "
        "getRoutingInfo:pp activateBus:iiib setActive:b setState:p getState:p",
    ),
    "IAudioProcessor": (
        "42043F99B7DA453CA569E79D9AAEC33D",
        UNKNOWN + "setBusArrangements:pipi getBusArrangement:iip canProcessSampleSize:i "
        "getLatencySamples:>u setupProcessing:p setProcessing:b process:p getTailSamples:>u",
    ),
    "IEditController": (
        "DCD7BBE37742448DA874AACC979C759E",
        PLUGIN_BASE + "setComponentState:p setState:p getState:p getParameterCount: "
        "getParameterInfo:ip getParamStringByValue:udp getParamValueByString:upp "
        "normalizedParamToPlain:ud>d plainParamToNormalized:ud>d getParamNormalized:u>d "
        "setParamNormalized:ud setComponentHandler:p createView:s>p",
    ),
    "IUnitInfo": (
        "3D4BD6B5913A4FD2A886E768A5EB92C1",
        UNKNOWN + "getUnitCount: getUnitInfo:ip getProgramListCount: getProgramListInfo:ip "
        "getProgramName:iip",
    ),
    "IMidiMapping": (
        "DF0FF9F749B74669B63AB7327ADBF5E5",
        UNKNOWN + "getMidiControllerAssignment:ihhp",
    ),
    "IConnectionPoint": (
        "70A4156F6E6E4026989148BFAA60D8D1",
        UNKNOWN + "connect:p disconnect:p notify:p",
    ),
    "IHostApplication": (
        "58E595CCDB2D49698B6AAF8C36A664E5",
        UNKNOWN + "getName:p createInstance:ppp",
    ),
    "IComponentHandler": (
        "93A0BEA30BD045DB8E890B0CC1E46AC6",
        UNKNOWN + "beginEdit:u performEdit:ud endEdit:u restartComponent:i",
    ),
    "IMessage": (
        "936F033BC6C047DBBB0882F813C1E613",
        UNKNOWN + "getMessageID:>p setMessageID:s>v getAttributes:>p",
    ),
    "IAttributeList": (
        "1E5F0AEBCC7F4533A254401138AD5EE4",
        UNKNOWN + "setInt:sq getInt:sp setFloat:sd getFloat:sp setString:sp getString:spu "
        "setBinary:spu getBinary:spp",
    ),
    "IBStream": (
        "C3BF6EA2309947529B6BF9901EE33E9B",
        UNKNOWN + "read:pip write:pip seek:qip tell:p",
    ),
    "IParameterChanges": (
        "A47796630BB64A56B44384A8466FEB9D",
        UNKNOWN + "getParameterCount: getParameterData:i>p addParameterData:pp>p",
    ),
    "IParamValueQueue": (
        "01263A18ED074F6F98C9D3564686F9BA",
        UNKNOWN + "getParameterId:>u getPointCount: getPoint:ipp addPoint:idp",
    ),
    "IEventList": (
        "3A2C4214346349FEB2C4F397B9695A44",
        UNKNOWN + "getEventCount: getEvent:ip addEvent:p",
    ),
}


def structure(name: str, members: str) -> Any:
    """Make a C structure from the names and letters of its members, in `TYPES`.

    A number before a letter makes an array of so many.
    """
    fields = []
    for member in members.split():
        field, _, letters = member.partition(":")
        kind, n = TYPES[letters[-1]], letters[:-1]
        fields.append((field, kind * int(n) if n else kind))
    return type(name, (C.Structure,), {"_fields_": fields})


FactoryInfo = structure("PFactoryInfo", "vendor:64c url:256c email:128c flags:i")
# PClassInfo2; a factory of the first kind fills the members up to the name.
ClassInfo = structure(
    "PClassInfo2",
    "cid:16b cardinality:i category:32c name:64c flags:u sub_categories:128c vendor:64c "
    "version:64c sdk_version:64c",
)
BusInfo = structure("BusInfo", "media_type:i direction:i channels:i name:128w bus_type:i flags:u")
ParameterInfo = structure(
    "ParameterInfo",
    "id:u title:128w short_title:128w units:128w steps:i default:d unit_id:i flags:i",
)
UnitInfo = structure("UnitInfo", "id:i parent:i name:128w program_list:i")
ProcessSetup = structure("ProcessSetup", "mode:i sample_size:i block:i sample_rate:d")
BusBuffers = structure("AudioBusBuffers", "channels:i silence:Q buffers:p")
ProcessContext = structure(
    "ProcessContext",
    "state:u sample_rate:d samples:q system_time:q continuous_samples:q quarters:d bar:d "
    "cycle_start:d cycle_end:d tempo:d numerator:i denominator:i chord:i smpte_offset:i "
    "frame_rate:2u to_next_clock:i",
)
ProcessData = structure(
    "ProcessData",
    "mode:i sample_size:i samples:i n_inputs:i n_outputs:i inputs:p outputs:p input_changes:p "
    "output_changes:p input_events:p output_events:p context:p",
)
# Two types of event, 48 bytes each: what differs begins behind the pitch.
HEAD = "bus:i offset:i quarters:d flags:h type:h padding:i channel:h pitch:h "
NoteOn = structure("NoteOnEvent", HEAD + "tuning:f velocity:f length:i note_id:i end:i")
NoteOff = structure("NoteOffEvent", HEAD + "velocity:f note_id:i tuning:f end:2i")


def text(units: Any) -> str:
    """Return what stands in a ``String128`` before its end; plugins leave garbage behind it."""
    codes = list(units)
    end = codes.index(0) if 0 in codes else len(codes)
    return b"".join(code.to_bytes(2, "little") for code in codes[:end]).decode(
        "utf-16-le", "replace"
    )


@functools.cache
def methods(interface: str) -> tuple[tuple[str, Any], ...]:
    """Return name and C type of each method of an interface, in the order of its table."""
    listed = []
    for signature in INTERFACES[interface][1].split():
        name, _, types = signature.partition(":")
        takes, _, gives = types.partition(">")
        returned = TYPES[gives or "i"]
        listed.append((name, C.CFUNCTYPE(returned, C.c_void_p, *(TYPES[t] for t in takes))))
    return tuple(listed)


@functools.cache
def interface_id(interface: str) -> bytes:
    """Return the 16 bytes by which an interface is asked for."""
    return bytes.fromhex(INTERFACES[interface][0])


class PluginObject:
    """An object of the plugin, seen through one interface, whose methods are attributes.

    Args:
        interface: One of `INTERFACES`.
        pointer: The object, of which one reference is held until ``release`` is called.
    """

    def __init__(self, interface: str, pointer: int) -> None:
        """Read the table."""
        self.pointer = pointer
        table = C.cast(C.cast(pointer, C.POINTER(C.c_void_p))[0], C.POINTER(C.c_void_p))
        for index, (name, kind) in enumerate(methods(interface)):
            setattr(self, name, functools.partial(kind(table[index]), pointer))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Refuse what is no method of the interface."""
        raise AttributeError(name)

    def query(self, interface: str) -> "PluginObject | None":
        """Return the same object through another interface, None if it does not have that."""
        found = C.c_void_p()
        result = self.queryInterface(interface_id(interface), C.byref(found))
        return PluginObject(interface, found.value) if result == OK and found.value else None


class HostObject:
    """An object that the host lends to the plugin; a subclass has the methods of its interface.

    Attributes:
        interface: Which of `INTERFACES` it has.
        pointer: What the plugin is given.
    """

    interface: str
    _lent: dict[int, "HostObject"] = {}  # objects that belong to the plugin until it releases them

    def __init__(self) -> None:
        """Lay out the table of functions."""
        self._references = 1
        # Kept here, since the plugin's pointers alone keep nothing alive.
        self._functions = [
            kind(self._without_this(name)) for name, kind in methods(self.interface)
        ]
        self._table = (C.c_void_p * len(self._functions))(
            *(C.cast(function, C.c_void_p) for function in self._functions)
        )
        self._object = C.c_void_p(C.addressof(self._table))
        self.pointer = C.addressof(self._object)

    def _without_this(self, name: str) -> Callable[..., Any]:
        method = getattr(self, name)
        return lambda _this, *arguments: method(*arguments)

    def lend(self) -> int:
        """Return the pointer of an object that lives until the plugin has released it."""
        self._lent[self.pointer] = self
        return self.pointer

    def queryInterface(self, wanted: int, found: int) -> int:  # noqa: N802
        """Answer for the interface it has, and for the base of all."""
        known = (interface_id(self.interface), bytes.fromhex("0000000000000000C000000000000046"))
        fits = C.string_at(wanted, 16) in known
        write(found, C.c_void_p, self.pointer if fits else None)
        if fits:
            self.addRef()
        return OK if fits else NO_INTERFACE

    def addRef(self) -> int:  # noqa: N802
        """Count one more reference."""
        self._references += 1
        return self._references

    def release(self) -> int:
        """Count one reference less; a lent object goes with the last."""
        self._references -= 1
        if not self._references:
            self._lent.pop(self.pointer, None)
        return max(0, self._references)


def write(pointer: int | None, kind: Any, value: Any) -> None:
    """Write a value where a pointer of the plugin points, if it points anywhere."""
    if pointer:
        written = value if isinstance(value, kind) else kind(value)
        C.memmove(pointer, C.byref(written), C.sizeof(written))
