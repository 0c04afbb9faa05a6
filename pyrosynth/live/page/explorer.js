"use strict";
// The page: what the user does becomes questions to `source`, and the answers are shown.

const $ = (id) => document.getElementById(id);

const player = new Player();
let state = null;
let now = null; // the current point: latent, values, positions, place
let title = ""; // what the current point is called
let hovering = null;
let wishes = 0; // how often something was asked for: an answer that comes late must not undo a newer one
let onPath = null; // which of these wishes is the path that is being played

function say(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

/** Run something; what goes wrong is told, the page goes on. */
async function trying(action) {
  try {
    await action();
  } catch (error) {
    if (error.name === "AbortError") return;
    say(error.message, true);
    if (!(error instanceof Told)) throw error;
  }
}

/** An item of a list, of buttons: a text and what it does, in turn. */
function listed(...buttons) {
  const item = document.createElement("li");
  for (let i = 0; i < buttons.length; i += 2) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: buttons[i] });
    button.addEventListener("click", buttons[i + 1]);
    item.append(button);
  }
  return item;
}

/** Let a button be marked while the page is at the preset it leads to. */
function leading(button, { values }) {
  button.dataset.to = JSON.stringify(values);
  return button;
}

function showCurrent() {
  const here = JSON.stringify(now?.values);
  for (const button of document.querySelectorAll("[data-to]")) button.setAttribute("aria-current", button.dataset.to === here);
}

/** Keep calling with the latest value: one call at a time, those in between are left out. */
function latest(action) {
  let busy = false;
  let waiting = null;
  return async (value) => {
    waiting = { value };
    if (busy) return;
    busy = true;
    while (waiting) {
      const next = waiting.value;
      waiting = null;
      await trying(() => action(next));
    }
    busy = false;
  };
}

/** Ask for something else than what is under way, a hover too; return which wish that is. */
function wish() {
  wishes += 1;
  hovering?.abort();
  return wishes;
}

/** Go to a point and play it; a point that has a name of its own is called by that. */
async function go(point, asked, { goOn = false, moving = null } = {}) {
  const called = point.name ?? asked;
  say("");
  if (now && !moving) undoing.add();
  now = point;
  title = called;
  showComparing(false);
  // The sound comes first: it is played before the page is drawn, or rendered while it is drawn.
  const playing = source.sound(point).then(async (sound) => {
    if (now === point && !comparing) await player.play(sound.url, goOn); // or the target is asked for by now
    return sound;
  });
  if (source.atHand(point)) await playing.catch(() => {}); // what is wrong is told below
  if (now !== point) return;
  draw(moving);
  const { picture } = await playing;
  if (now === point) drawPicture($("result"), picture);
}

/** Tell the server where we are, for the synth's own knobs. */
const tellMidi = latest((point) => source.tellMidi(point));

/** Draw where we are, except on the input that is being moved, if there is one. */
function draw(moving) {
  $("name").textContent = title;
  map.go(now.place);
  if (!moving) map.on.tell(`At ${title}`);
  showKnobs(moving);
  showSliders(moving);
  showCurrent();
  breeding.offer();
  if (state.sends_midi && source.canFind) tellMidi(now);
  if (moving) keepSoon();
  else keepInAddress();
}

function showSliders(except) {
  if (!source.canFind && !showMoved()) return;
  for (const input of document.querySelectorAll(".slider input")) {
    if (input.name !== except) Object.assign(input, source.scale(now, input.name));
    const heard = input.name === except && now.share !== undefined ? ` (${Math.round(100 * now.share)} % of the step)` : "";
    const position = (now.positions[input.name] ?? 0).toFixed(1).replace("-0.0", "0.0");
    input.closest(".slider").querySelector("output").textContent = position + heard;
    input.setAttribute("aria-valuetext", position);
  }
}

const follow = latest(async ({ mine, ask, moving }) => {
  if (mine !== wishes) return;
  const point = await ask();
  if (mine !== wishes) return;
  await go(point, `${title.replace(/ \(moved\)$/, "")} (moved)`, { goOn: true, moving });
});

/** Let an input move the point; `ask` gives the new one. A gesture is one step of undo. */
function followed(input, ask) {
  const set = input.type === "checkbox" ? "checked" : "value";
  let mine = null;
  let start = null; // where the gesture began
  input.addEventListener("input", () => {
    if (!now) return;
    if (mine !== wishes) [mine, start] = [wish(), null];
    if (!start) {
      start = now;
      undoing.add();
    }
    const [from, said] = [start, input[set]];
    const answer = () => {
      input[set] = said; // what was drawn meanwhile, of another input, may have set it back
      return ask(from);
    };
    follow({ mine, ask: answer, moving: input.name });
  });
  input.addEventListener("change", () => { start = null; });
}

function buildSlider({ name: called, kind, ends: names, moves }) {
  const box = document.createElement("div");
  box.className = "slider";
  const label = document.createElement("label");
  const input = Object.assign(document.createElement("input"), {
    type: "range", name: called, id: `s-${called}`,
  });
  label.htmlFor = input.id;
  label.append(called, document.createElement("output"));
  const written = (className, textContent) => Object.assign(document.createElement("span"), { className, textContent });
  const [low, high] = kind === "principal" || !names[0] ? ["", ""] : names;
  if (names[0]) input.setAttribute("aria-label", `${called}, from ${names[0]} to ${names[1]}`);
  input.title = `moves ${moves.map(knobName).join(", ")}`;
  followed(input, (from) => source.moved(from, called, Number(input.value)));
  box.append(written("end low", low), label, written("end high", high), input);
  if (!low) box.append(written("moving", `moves ${moves.slice(0, 3).map(knobName).join(", ")}`));
  return box;
}

/** Ask for a point and go there, unless something else was asked for meanwhile; tell which. */
async function visit(ask, called) {
  const mine = wish();
  const point = await ask();
  if (mine !== wishes) return null;
  await go(point, called);
  return point;
}

const load = (number) => trying(() => visit(() => source.point({ preset: number }), state.names[number]));

async function hover(number) {
  hovering?.abort();
  hovering = null;
  if (number === null || onPath === wishes) return;
  const asking = new AbortController();
  hovering = asking;
  await trying(async () => {
    await new Promise((resolve) => { setTimeout(resolve, 70); }); // passing over is not asking
    if (asking.signal.aborted) return;
    const sound = await source.known(number, { signal: asking.signal });
    if (!asking.signal.aborted) await player.play(sound.url);
  });
}

const map = new PresetMap($("map"), $("tip"), {
  hover,
  choose: load,
  drawn: () => { stops = []; setPath(); setDrawing(false); },
  tell: (text, number) => { $("map-says").textContent = number === undefined ? text : described(number); },
  seen: () => keepSoon(),
});
