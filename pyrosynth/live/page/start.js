"use strict";
// Paths, sounds to be found, files, and the beginning of it all.

const STEPS = 12; // sounds along a path
const STEP_MS = 650;

const READ = /\.(wav|flac|ogg|oga|mp3|aiff?|aifc|au|caf)$/i; // what the server reads by itself

let target = null; // address of the sound that was dropped

function setPath() {
  $("walk").disabled = $("clear").disabled = map.path.length < 1;
}

function setDrawing(on) {
  map.drawing = on;
  $("draw").setAttribute("aria-pressed", on);
  $("map").classList.toggle("drawing", on);
}

/** Places at even distances along a line. */
function along(path, n) {
  const lengths = path.slice(1).map((p, i) => Math.hypot(p[0] - path[i][0], p[1] - path[i][1]));
  const total = lengths.reduce((a, b) => a + b, 0);
  return Array.from({ length: n }, (_, k) => {
    let left = (total * k) / (n - 1);
    let i = 0;
    while (i < lengths.length - 1 && left > lengths[i]) { left -= lengths[i]; i += 1; }
    const share = lengths[i] ? Math.min(1, left / lengths[i]) : 0;
    const [from, to] = [path[i], path[i + 1] ?? path[i]];
    return [0, 1].map((c) => from[c] + share * (to[c] - from[c]));
  });
}

async function walk() {
  walking += 1;
  const mine = walking;
  const places = along(map.path, STEPS);
  const points = await source.path(places);
  say("Playing the path…");
  onPath = mine;
  try {
    for (const [i, there] of points.entries()) {
      const begun = performance.now();
      const point = there.place ? there : await source.point(there);
      if (walking !== mine) return;
      await go(point, `path ${i + 1}/${STEPS}`, { moving: "path" });
      map.go(places[i]);
      await new Promise((resolve) => { setTimeout(resolve, Math.max(0, STEP_MS - performance.now() + begun)); });
    }
  } finally {
    if (onPath === mine) onPath = 0;
  }
  say("");
}

async function find(blob, called) {
  say(`Listening to ${called}…`);
  const sketch = $("sketch").checked;
  const sound = READ.test(called) || blob.type === "audio/wav" ? blob : await decoded(blob, called);
  const found = await visit(() => source.find(sound, called, sketch), `like ${called}`);
  if (!found) return;
  if (target) URL.revokeObjectURL(target);
  target = URL.createObjectURL(blob);
  $("target-figure").hidden = false;
  drawPicture($("target"), found.target);
  const { play } = found;
  const toPlay = play ? `${play.name}, ${play.note.hold_seconds.toFixed(1)} s` : "";
  $("target-caption").textContent = play ? `Target: ${toPlay}` : "Target";
  const advice = play ? `play ${toPlay}; ` : "";
  say(`Found a preset for ${called}; ${advice}it is ${found.lsd_db.toFixed(1)} dB from the sound.`);
}

function download(href, file) {
  const safe = file.replace(/[^\w .()+-]/g, "_");
  Object.assign(document.createElement("a"), { href, download: safe }).click();
}

const save = (format) => trying(async () => {
  const { blob, suffix } = await source.file(now, title, format);
  download(URL.createObjectURL(blob), `${title}${suffix}`);
});

function showResults() {
  const text = $("search").value.trim().toLowerCase();
  const found = text ? state.names.map((n, i) => [n, i]).filter(([n]) => n.toLowerCase().includes(text)) : [];
  $("results").replaceChildren(...found.slice(0, 12).map(([n, i]) => {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: n });
    button.addEventListener("click", () => load(i));
    item.append(button);
    return item;
  }));
  if (text && !found.length) say(`no preset has "${text}" in its name`);
}

function listen() {
  const on = (id, action) => $(id).addEventListener("click", () => trying(action));
  on("play", async () => player.play((await source.sound(now)).url));
  on("stop", async () => { walking += 1; player.stop(); });
  on("play-target", async () => player.play(target));
  on("random", async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    await visit(() => source.point({ random: seed }), `random ${seed}`);
  });
  on("back", async () => {
    const last = before.pop();
    wishes += 1;
    if (last) { now = null; await go(last.point, last.title); }
    $("back").disabled = !before.length;
  });
  on("draw", async () => setDrawing(!map.drawing));
  on("add", async () => { map.path.push(now.place); map.draw(); setPath(); });
  on("walk", walk);
  on("clear", async () => { walking += 1; map.clear(); setPath(); });
  on("save", () => save());
  on("save-json", () => save("json"));
  on("save-sound", async () => {
    const { url } = await source.sound(now);
    download(url, `${title}.${source.canFind ? "wav" : url.split(".").pop()}`);
  });
  on("open", async () => $("file").click());
  $("file").addEventListener("change", () => {
    const [file] = $("file").files;
    if (file) trying(() => find(file, file.name));
    $("file").value = "";
  });
  const recorder = new Recorder();
  on("record", async () => {
    const going = $("record").getAttribute("aria-pressed") === "true";
    if (!going) await recorder.start();
    $("record").setAttribute("aria-pressed", !going);
    $("record").textContent = going ? "Record" : "Stop recording";
    if (going) await find(await recorder.stop(), "your recording");
    else say("Recording… hum, then stop.");
  });
  $("colour").addEventListener("change", paintRamp);
  $("search").addEventListener("input", showResults);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paintRamp);
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.target.matches("input, select")) { event.preventDefault(); $("search").focus(); }
  });
  listenToDrops();
}

function listenToDrops() {
  let inside = 0;
  const shown = (by) => { inside = Math.max(0, inside + by); $("drop").hidden = !inside; };
  addEventListener("dragenter", (event) => { event.preventDefault(); shown(1); });
  addEventListener("dragleave", () => shown(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    shown(-inside);
    const [file] = event.dataTransfer.files;
    if (file && source.canFind) trying(() => find(file, file.name));
  });
}

/** Ask every now and then whether the server is there; all on the page stays if it is not. */
async function watch() {
  let gone = false;
  for (;;) {
    await new Promise((resolve) => { setTimeout(resolve, gone ? 700 : 2500); });
    try {
      const { run } = await source.ping();
      if (gone) say(run === state.run ? "The server is back." : "Another run is served here now; load the page again.", run !== state.run);
      gone = false;
    } catch {
      // Said each time: a question that could not be answered may have said otherwise.
      say("The server has gone; waiting for it to come back…", true);
      gone = true;
    }
  }
}

trying(async () => {
  state = await source.state();
  const { synth, model, names, note } = state;
  $("title").textContent = `${state.run} – pyrosynth`;
  $("about").textContent = `${synth}, ${names.length} presets, ${model}, note ${note.pitch}`;
  document.title = `${state.run} – pyrosynth explorer`;
  $("colour").append(...state.colours.map((c) => new Option(c.name)));
  $("colour").selectedIndex = Math.min(1, state.colours.length - 1);
  for (const slider of state.controls) {
    $(slider.kind === "principal" ? "principal" : "sliders").append(buildSlider(slider));
  }
  $("params").append(...state.params.map((p) => {
    const box = document.createElement("div");
    box.append(Object.assign(document.createElement("dt"), { textContent: p.name }), document.createElement("dd"));
    return box;
  }));
  $("find").hidden = !source.canFind;
  if (source.moves) $("sliders-title").textContent = `Move the sound of “${source.moves}”`;
  $("record").hidden = !navigator.mediaDevices;
  map.show(state.plane, names);
  paintRamp();
  listen();
  await go(await source.point({ preset: 0 }), names[0]).catch((error) => say(error.message, !(error instanceof Told)));
  if (source.canFind) watch();
  document.documentElement.dataset.ready = "yes";
});
