"use strict";
// Hearing and seeing sounds: a player that fades from one to the next, spectrograms, recording.

const FADE_MS = 40;

class Player {
  constructor() {
    this.now = null;
    this.loop = false;
    this.plays = 0; // how many sounds were started, for those who count
  }

  /** Play a sound; with `goOn` from where the one before it is, so that dragging does not restart it. */
  async play(url, goOn = false, volume = 1) {
    const before = this.now;
    const audio = new Audio(url);
    audio.loop = this.loop;
    if (goOn && before && !before.ended && !before.paused) audio.currentTime = before.currentTime;
    this.now = audio;
    audio.volume = before && !before.paused ? 0 : volume;
    try {
      await audio.play();
      this.plays += 1;
    } catch (error) {
      if (error.name === "NotAllowedError") say("Click anywhere once to allow sound.");
      else if (error.name !== "AbortError") throw new Told("this sound cannot be played here");
      return;
    }
    if (this.now === audio) this.fade(audio, volume);
    if (before) this.fade(before, 0);
  }

  stop() {
    if (this.now) this.fade(this.now, 0);
    this.now = null;
  }

  fade(audio, goal) {
    const start = performance.now();
    const from = audio.volume;
    const step = () => {
      const share = Math.min(1, (performance.now() - start) / FADE_MS);
      audio.volume = from + share * (goal - from);
      if (share < 1) setTimeout(step, 8);
      else if (goal === 0) audio.pause();
    };
    step();
  }
}

// From dark to light at even steps of lightness, readable without colour too.
const RAMP = [[13, 8, 35], [74, 16, 92], [143, 33, 96], [204, 66, 72], [240, 122, 48], [251, 187, 63], [252, 244, 164]];

/** Return the colour of a share from 0 to 1, between `low` and 1 of the ramp. */
function shade(share, low = 0) {
  const at = (low + (1 - low) * Math.min(1, Math.max(0, share))) * (RAMP.length - 1);
  const i = Math.min(Math.floor(at), RAMP.length - 2);
  return RAMP[i].map((c, k) => Math.round(c + (at - i) * (RAMP[i + 1][k] - c)));
}

/** Draw a spectrogram: time to the right, frequency upwards. */
function drawPicture(canvas, picture) {
  const { bands, frames } = picture;
  const cells = bytes(picture.cells);
  canvas.width = frames;
  canvas.height = bands;
  const context = canvas.getContext("2d");
  const image = context.createImageData(frames, bands);
  for (let t = 0; t < frames; t += 1) {
    for (let band = 0; band < bands; band += 1) {
      const rgb = shade(cells[t * bands + band] / 255);
      image.data.set([...rgb, 255], 4 * ((bands - 1 - band) * frames + t));
    }
  }
  context.putImageData(image, 0, 0);
  canvas.dataset.drawn = picture.cells.length;
}

/** Write mono samples as a 16-bit WAV file. */
function wav(samples, rate) {
  const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const text = (at, word) => [...word].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  text(0, "RIFF"); view.setUint32(4, 36 + 2 * samples.length, true); text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
  view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true); view.setUint16(34, 16, true);
  text(36, "data"); view.setUint32(40, 2 * samples.length, true);
  samples.forEach((s, i) => view.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, s)), true));
  return new Blob([view], { type: "audio/wav" });
}

/** Decode a sound by the browser, and return its first channel as a WAV file. */
async function decoded(blob, called) {
  const context = new AudioContext();
  try {
    const heard = await context.decodeAudioData(await blob.arrayBuffer());
    return wav(heard.getChannelData(0), heard.sampleRate);
  } catch {
    throw new Told(`'${called}' cannot be decoded here; convert it to WAV, FLAC, OGG, MP3 or AIFF`);
  } finally {
    await context.close();
  }
}

/** Records from the microphone until told to stop. */
class Recorder {
  async start() {
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({
        // What makes a call clear takes a hummed note for noise.
        audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
      });
    } catch {
      throw new Told("no microphone, or it was not allowed");
    }
    this.parts = [];
    this.recorder = new MediaRecorder(this.stream);
    this.recorder.ondataavailable = (event) => this.parts.push(event.data);
    // It also ends by itself, when the microphone is taken away.
    this.ended = new Promise((resolve) => { this.recorder.onstop = resolve; });
    this.recorder.start();
  }

  /** Return what was recorded as a WAV file. */
  async stop() {
    if (this.recorder.state !== "inactive") this.recorder.stop();
    await this.ended;
    this.stream.getTracks().forEach((track) => track.stop());
    return decoded(new Blob(this.parts), "the recording");
  }
}
