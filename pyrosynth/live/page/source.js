"use strict";
// Where the page gets what it shows: from the server, or from the data of a static export.

/** An error to be shown to the user as it is. */
class Told extends Error {}

const FURTHEST = 4; // of the sliders to either side

/** Turn base64 into bytes. */
function bytes(text) {
  const binary = atob(text);
  const all = new Uint8Array(binary.length);
  for (let i = 0; i < all.length; i += 1) all[i] = binary.charCodeAt(i); // a sound has 200,000
  return all;
}

/** Wait for something from the server; that there is nothing is told. */
async function answered(waiting) {
  try {
    return await waiting;
  } catch (error) {
    throw error.name === "AbortError" ? error : new Told("the server does not answer");
  }
}

class Server {
  constructor() {
    this.canFind = true;
    this.kept = new Map(); // sounds by what was asked, the latest last
    this.run = ""; // the hash of the one that the page shows
  }

  async ask(path, options = {}) {
    const headers = { ...options.headers, "X-Run": this.run };
    const response = await answered(fetch(path, { ...options, headers }));
    if (!response.ok) {
      const said = await response.json().catch(() => ({}));
      throw new Told(said.error || `the server answers ${response.status}`);
    }
    return response;
  }

  async question(path, asked, options = {}) {
    return this.ask(path, { method: "POST", body: JSON.stringify(asked), ...options });
  }

  async ping() { return (await this.ask("api/ping")).json(); }

  async state() {
    const state = await (await this.ask("api/state")).json();
    this.run = state.hash;
    return state;
  }

  /** A point; if its sound was asked for as well, that is at hand then. */
  async point(asked) {
    const { sound, ...point } = await (await this.question("api/point", asked)).json();
    if (sound) this.add(this.key(point), sound);
    return point;
  }

  /** The values of a slider, and its value at a point. */
  scale({ positions }, axis) { return { min: -FURTHEST, max: FURTHEST, step: 0.05, value: positions[axis] ?? 0 }; }

  /** The point to which a value of a slider leads. */
  moved({ z, values }, axis, value) { return this.point({ z, values, to: { [axis]: value }, locked: locked(), sound: true }); }

  async path(places) { return (await this.point({ path: places })).path.map((z) => ({ z })); }

  /** The points of a morph through others. */
  async morph(stops) {
    const through = stops.map(({ z, values }) => ({ z, values }));
    return (await this.point({ through, locked: locked() })).path;
  }

  /** Known presets that are near a point, with their measured distances. */
  async similar({ z, values }) { return (await (await this.question("api/similar", { z, values })).json()).similar; }

  /** Points between two others. */
  async breed(parents, seed, held) {
    const asked = { parents: parents.map(({ z, values }) => ({ z, values })), seed, locked: held };
    return (await (await this.question("api/breed", asked)).json()).children;
  }

  /** The sound of a preset at a note, held for some seconds. */
  note(values, pitch, hold) {
    return this.keep(JSON.stringify([pitch, hold, values]), () => this.question("api/sound", { values, pitch, hold }));
  }

  async bank(presets) {
    const asked = { presets: presets.map(({ name, values }) => ({ name, values })) };
    const response = await this.question("api/bank", asked);
    const leftOut = decodeURIComponent(response.headers.get("X-Left-Out") ?? "");
    return { blob: await response.blob(), suffix: response.headers.get("X-Suffix"), leftOut };
  }

  known(number, options) {
    return this.keep(`p${number}`, () => this.ask(`api/sound/${number}`, options));
  }

  key({ values }) { return JSON.stringify(values); }

  /** Whether the sound of a point can be played at once. */
  atHand(point) { return this.kept.has(this.key(point)); }

  sound(point, options) {
    return this.keep(this.key(point), () => this.question("api/sound", { values: point.values }, options));
  }

  async keep(key, ask) {
    if (!this.kept.has(key)) this.add(key, await (await ask()).json());
    return this.kept.get(key);
  }

  add(key, { wav: said, picture, level }) {
    if (this.kept.has(key)) return; // its address may be in use
    const content = bytes(said);
    const url = URL.createObjectURL(new Blob([content], { type: "audio/wav" }));
    this.kept.set(key, { url, content, picture, level });
    for (const [old, { url: gone }] of this.kept) {
      if (this.kept.size <= 160) break;
      URL.revokeObjectURL(gone);
      this.kept.delete(old);
    }
  }

  /** Search for the preset of a sound; yields what is new until the search ends or is aborted. */
  async* search(file, asked, signal) {
    const path = `api/search?asked=${encodeURIComponent(JSON.stringify(asked))}`;
    const response = await this.ask(path, { method: "POST", body: file, signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      for (;;) {
        const { done, value } = await answered(reader.read());
        if (done) return;
        text += value;
        const lines = text.split("\n");
        text = lines.pop();
        for (const line of lines) {
          const news = JSON.parse(line);
          if (news.error) throw new Told(news.error);
          yield news;
        }
      }
    } finally {
      reader.cancel().catch(() => {}); // the server searches as long as somebody reads
    }
  }

  async tellMidi({ values }) { await this.question("api/midi", { values }); }

  async file(point, name, format) {
    const response = await this.question("api/file", { values: point.values, name, format });
    return { blob: await response.blob(), suffix: response.headers.get("X-Suffix") };
  }
}

class Exported {
  /** `packed` is JSON, deflated, in base64. */
  constructor(packed) {
    this.packed = packed;
    this.canFind = false;
  }

  async ping() { return {}; }

  async state() {
    const json = new Blob([bytes(this.packed)]).stream().pipeThrough(new DecompressionStream("deflate"));
    this.data = await new Response(json).json();
    const { presets, found, sweeps } = this.data;
    this.swept = [...presets, ...found].filter(({ sweep }) => sweep !== undefined);
    for (const point of this.swept) {
      for (const [axis, stops] of Object.entries(sweeps[point.sweep])) {
        stops.push(point);
        stops.sort((a, b) => a.positions[axis] - b.positions[axis]);
      }
    }
    return this.data.state;
  }

  /** The preset that the sliders move where we are; nothing if they move none. */
  start({ sweep }) { return this.swept.find((point) => point.sweep === sweep); }

  /** A slider goes from stop to stop; that of another axis is where its preset is. */
  scale(point, axis) {
    const stops = this.data.sweeps[point.sweep][axis];
    const value = stops.indexOf(stops.includes(point) ? point : this.start(point));
    return { min: 0, max: stops.length - 1, step: 1, value };
  }

  async moved({ sweep }, axis, value) { return this.data.sweeps[sweep][axis][value]; }

  async point(asked) {
    const { presets } = this.data;
    if ("random" in asked) return presets[asked.random % presets.length];
    if ("preset" in asked) return presets[asked.preset];
    return presets[0];
  }

  async path(places) {
    const at = this.data.state.plane;
    const nearest = ([x, y]) => at.reduce((best, [u, v], i) => {
      const d = (u - x) ** 2 + (v - y) ** 2;
      return d < best.d ? { d, i } : best;
    }, { d: Infinity, i: 0 }).i;
    return places.map((place) => this.data.presets[nearest(place)]);
  }

  async known(number) { return this.sound(this.data.presets[number]); }

  /** Sounds are files, which take their time. */
  atHand() { return false; }

  async sound({ sound, picture, level }) { return { url: sound, picture, level }; }

  async file(point, name, format) {
    if (format !== "json" && point.bank) {
      const content = Uint8Array.from(point.bank, (c) => c.charCodeAt(0));
      return { blob: new Blob([content]), suffix: point.suffix };
    }
    const { params, synth, note } = this.data.state;
    const parameters = Object.fromEntries(params.map((p, i) => [p.name, point.values[i]]));
    const text = JSON.stringify({ synth, name, note, parameters }, null, 1);
    return { blob: new Blob([`${text}\n`], { type: "application/json" }), suffix: ".json" };
  }
}

const source = EXPORTED ? new Exported(EXPORTED) : new Server();
