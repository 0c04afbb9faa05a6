"use strict";
// The keyboard: plays the current preset at any note, by mouse, touch, computer keys or MIDI.

const NOTES = ["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"];
const TYPED = ["KeyA", "KeyW", "KeyS", "KeyE", "KeyD", "KeyF", "KeyT", "KeyG", "KeyY", "KeyH", "KeyU", "KeyJ", "KeyK", "KeyO", "KeyL", "KeyP"];
const KEYS = 25; // two octaves and a note
const AT_ONCE = 8; // notes that sound together

let lowest = 48; // MIDI number of the first key
const noteName = (pitch) => `${NOTES[pitch % 12]}${Math.floor(pitch / 12) - 1}`;

/** Plays notes of a preset, several at once; each is rendered once. */
class Keyboard {
  constructor() {
    this.context = null;
    this.sounding = [];
    this.notes = 0; // how many were played, for those who count
    this.latency = null; // milliseconds from the last key to its sound
  }

  async play(pitch, strength = 1) {
    const begun = performance.now();
    if (!now || pitch < 0 || pitch > 127) return;
    this.context ??= new AudioContext();
    if (this.context.state === "suspended") this.context.resume();
    player.stop();
    const note = await source.note(now.values, pitch, Number($("length").value));
    note.decoded ??= await this.context.decodeAudioData(note.content.buffer.slice(0));
    const node = new AudioBufferSourceNode(this.context, { buffer: note.decoded });
    const gain = new GainNode(this.context, { gain: strength });
    node.connect(gain).connect(this.context.destination);
    node.onended = () => { this.sounding = this.sounding.filter((other) => other !== node); };
    this.sounding.push(node);
    if (this.sounding.length > AT_ONCE) this.sounding.shift().stop();
    node.start();
    this.notes += 1;
    this.latency = performance.now() - begun;
  }

  stop() {
    this.sounding.splice(0).forEach((node) => node.stop());
  }
}

const keyboard = new Keyboard();

/** Play a key, and show that it is down for a moment. */
function press(pitch, strength = 1) {
  const key = $("keys").querySelector(`[data-pitch="${pitch}"]`);
  key?.classList.add("down");
  setTimeout(() => key?.classList.remove("down"), 150);
  return trying(() => keyboard.play(pitch, strength));
}

function buildKeys() {
  showKeys();
  $("lower").addEventListener("click", () => moveKeys(-12));
  $("higher").addEventListener("click", () => moveKeys(12));
  $("midi").hidden = !navigator.requestMIDIAccess;
  $("midi").addEventListener("click", () => trying(openMidi));
  $("keys").addEventListener("pointerdown", (event) => {
    const { pitch } = event.target.dataset;
    if (pitch) press(Number(pitch));
  });
  $("keys").addEventListener("pointerover", (event) => {
    const { pitch } = event.target.dataset;
    if (pitch && event.buttons) press(Number(pitch)); // a glissando
  });
  $("keys").addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const pitch = Number(event.target.dataset.pitch);
    if (event.key === "Enter" || event.key === " ") press(pitch);
    else if (step) $("keys").querySelector(`[data-pitch="${pitch + step}"]`)?.focus();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (!source.canFind || event.target.matches("input[type=search], select")) return;
    const step = TYPED.indexOf(event.code);
    if (step >= 0) press(lowest + 12 + step);
    else if (event.code === "KeyZ") moveKeys(-12);
    else if (event.code === "KeyX") moveKeys(12);
  });
}

function showKeys() {
  $("keys").replaceChildren(...Array.from({ length: KEYS }, (_, i) => {
    const pitch = lowest + i;
    const key = Object.assign(document.createElement("button"), { type: "button", tabIndex: i === 12 ? 0 : -1 });
    key.dataset.pitch = pitch;
    key.className = NOTES[pitch % 12].length > 1 ? "black" : "white";
    key.setAttribute("aria-label", noteName(pitch));
    if (pitch % 12 === 0) key.textContent = noteName(pitch);
    return key;
  }));
}

function moveKeys(by) {
  lowest = Math.min(96, Math.max(0, lowest + by));
  showKeys();
  say(`Keys from ${noteName(lowest)} to ${noteName(lowest + KEYS - 1)}`);
}

/** Listen to all MIDI keyboards there are, and to those that come later. */
async function openMidi() {
  let access;
  try {
    access = await navigator.requestMIDIAccess();
  } catch {
    throw new Told("no MIDI here, or it was not allowed; the keys on the page play as well");
  }
  const connect = () => {
    const inputs = [...access.inputs.values()].filter((input) => input.state === "connected");
    for (const input of inputs) input.onmidimessage = ({ data: [status, pitch, velocity] }) => {
      if ((status & 0xf0) === 0x90 && velocity) press(pitch, velocity / 127);
    };
    $("midi").setAttribute("aria-pressed", inputs.length > 0);
    say(inputs.length ? `MIDI: ${inputs.map((input) => input.name).join(", ")}` : "no MIDI keyboard is connected; it is heard as soon as there is one");
  };
  access.onstatechange = connect;
  connect();
}
