"use strict";
// What was before: undo and redo, the state in the address, presets that are kept.

const STEPS_KEPT = 100; // of undo

/** One step for each gesture, to go back and forth. */
const undoing = {
  done: [],
  undone: [],

  /** Remember where we are, before going elsewhere. */
  add() {
    this.done = [...this.done, { point: now, title }].slice(-STEPS_KEPT);
    this.undone = [];
    this.show();
  },

  async step(way) {
    const [from, to] = way < 0 ? [this.done, this.undone] : [this.undone, this.done];
    const last = from.pop();
    if (!last) return;
    to.push({ point: now, title });
    wish();
    this.show();
    await go(last.point, last.title, { moving: "history" });
    if (now === last.point) say(`${way < 0 ? "Back at" : "Again at"} ${last.title}`);
  },

  show() {
    $("undo").disabled = !this.done.length;
    $("redo").disabled = !this.undone.length;
  },
};

const shortened = (numbers) => numbers.map((n) => Number(n.toPrecision(7))).join(",");

let keeping = null; // what will put all into the address soon

/** Put the preset, the locks and the map into the address, so that a reload or a link brings them back. */
function keepInAddress() {
  if (!source.canFind) return;
  clearTimeout(keeping);
  const asked = new URLSearchParams({ run: state.run, of: state.hash, name: title, z: shortened(now.z), values: shortened(now.values) });
  filters.keep(asked);
  for (const name of locks) asked.append("locked", name); // one each: names may hold anything
  history.replaceState(null, "", `#${asked}`);
}

/** Do so in a moment: a browser minds an address that changes with every move of a hand. */
function keepSoon() {
  clearTimeout(keeping);
  keeping = setTimeout(() => { if (now) keepInAddress(); }, 300);
}

/** Go to what the address holds, if there is something; what is wrong with it is thrown. */
async function restoreFromAddress(address = location) {
  const asked = new URLSearchParams(address.hash.slice(1));
  if (!source.canFind || !(asked.has("run") || asked.has("values"))) return;
  const numbers = (name) => (asked.get(name) ?? "").split(",").map(Number);
  const [values, z] = [numbers("values"), numbers("z")];
  const [run, hash] = [asked.get("run"), asked.get("of") ?? state.hash]; // older links tell no hash
  const ends = asked.has("run") && asked.has("values"); // which come first and last
  const whole = values.length === state.params.length && z.length === state.latent_dim && [...values, ...z].every(Number.isFinite);
  const other = run !== state.run || hash !== state.hash;
  if (!whole || other) {
    if (now) keepInAddress();
    if (!ends || !other) throw new Told("this link is damaged and holds no whole preset; copy it again");
    throw new Told(run === state.run ? `this link is of another run called '${run}'` : `this link is of the run '${run}', not of '${state.run}'`);
  }
  filters.restore(asked);
  await visit(async () => {
    const point = await source.point({ z, values });
    locks.clear();
    for (const name of asked.getAll("locked")) {
      if (state.params.some((param) => param.name === name)) locks.add(name);
    }
    return point;
  }, asked.get("name") || "from a link");
}

/** Return what this browser keeps under a name; nothing if that is no list. */
function stored(name) {
  try {
    const presets = JSON.parse(localStorage.getItem(name));
    return Array.isArray(presets) ? presets : null;
  } catch {
    return null;
  }
}

/** Whether a preset may be one of this run: it has its numbers, and they are in their ranges. */
function isOfRun({ z, values }) {
  if (z?.length !== state.latent_dim || values?.length !== state.params.length) return false;
  return state.params.every(({ min, max }, i) => {
    const rounding = (max - min) / 1000;
    return values[i] >= min - rounding && values[i] <= max + rounding;
  });
}

/** Presets that are kept in this browser, for each run. */
const favourites = {
  name() { return `pyrosynth kept ${state.hash}`; },

  /** Return those of this run. Before, all runs of one name kept theirs together. */
  all() { return stored(this.name()) ?? (stored(`pyrosynth kept ${state.run}`) ?? []).filter(isOfRun); },

  store(presets) {
    try {
      localStorage.setItem(this.name(), JSON.stringify(presets));
    } catch {
      throw new Told("this browser keeps nothing for pages; download the preset instead");
    }
    this.show();
  },

  /** Keep a point under a name, with a number if another one has it. */
  add(called, { values, z }) {
    const kept = this.all();
    const same = kept.find((preset) => shortened(preset.values) === shortened(values));
    if (same) return say(`This is kept already, as ${same.name}.`);
    let name = called;
    for (let k = 2; kept.some((preset) => preset.name === name); k += 1) name = `${called} ${k}`;
    this.store([...kept, { name, values, z }]);
    return say(`Kept ${name}.`);
  },

  show() {
    const presets = this.all();
    $("save-bank").disabled = !presets.length;
    $("favourites").replaceChildren(...presets.map((preset, i) => {
      const { z, values } = preset;
      const item = listed(
        preset.name, () => trying(() => visit(() => source.point({ z, values }), preset.name)),
        "Remove", () => trying(async () => this.store(this.all().filter((_, k) => k !== i))),
      );
      leading(item.firstChild, preset);
      item.lastChild.setAttribute("aria-label", `Remove ${preset.name}`);
      return item;
    }));
    showCurrent();
    if (now) breeding.offer();
  },
};
