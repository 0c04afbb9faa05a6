"use strict";
// Paths, sounds to be found, files, and the beginning of it all.

const STEPS = 12; // sounds along a path
const STEP_MS = 650;
let stops = []; // the points of the path, unless it was drawn

const READ = /\.(wav|flac|ogg|oga|mp3|aiff?|aifc|au|caf)$/i; // what the server reads by itself

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
  const mine = wish();
  // Points that were added are gone through; a line that was drawn passes between the presets.
  const through = source.canFind && stops.length > 1 && stops.length === map.path.length;
  const places = along(map.path, STEPS);
  onPath = mine;
  say(through ? "Rendering the path…" : "Playing the path…");
  try {
    const points = await (through ? source.morph(stops) : source.path(places));
    if (wishes === mine && now) undoing.add();
    for (const [i, there] of points.entries()) {
      const begun = performance.now();
      const point = there.place ? there : await source.point({ ...there, locked: locked() });
      if (wishes !== mine) return;
      await go(point, `path ${i + 1}/${points.length}`, { moving: "path" });
      if (!through) map.go(places[i]);
      await new Promise((resolve) => { setTimeout(resolve, Math.max(0, STEP_MS - performance.now() + begun)); });
    }
  } finally {
    if (onPath === mine) onPath = null;
  }
}

function endPath() {
  if (onPath === wishes) wish();
}

function showRecording(on) {
  $("record").setAttribute("aria-pressed", on);
  $("record").textContent = on ? "Stop recording" : "Record";
}

function download(href, file) {
  const safe = file.replace(/[^\w .()+-]/g, "_");
  Object.assign(document.createElement("a"), { href, download: safe }).click();
}

const save = (format) => trying(async () => {
  const called = title;
  const { blob, suffix } = await source.file(now, called, format);
  download(URL.createObjectURL(blob), `${called}${suffix}`);
});

function listen() {
  const on = (id, action) => $(id).addEventListener("click", () => trying(action));
  on("play", async () => player.play((await source.sound(now)).url));
  on("stop", async () => { endPath(); player.stop(); });
  on("play-target", async () => hearTarget(true));
  on("ab", async () => hearTarget(!comparing));
  $("loop").addEventListener("change", () => {
    player.loop = $("loop").checked;
    if (player.now) player.now.loop = player.loop;
  });
  on("random", async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    await visit(() => source.point({ random: seed, locked: locked() }), `random ${seed}`);
  });
  on("undo", () => undoing.step(-1));
  on("redo", () => undoing.step(1));
  on("keep", async () => favourites.add(title, now));
  on("save-bank", async () => {
    const { blob, suffix, leftOut } = await source.bank(favourites.all());
    download(URL.createObjectURL(blob), `kept${suffix}`);
    if (leftOut) say(`The bank is without ${leftOut}`, true);
  });
  for (const [id, factor] of [["enlarge", STEP], ["reduce", 1 / STEP]]) on(id, async () => map.view.enlarge(factor));
  on("whole", async () => map.view.go([0.5, 0.5], 1));
  on("draw", async () => setDrawing(!map.drawing));
  on("add", async () => { map.path.push(now.place); stops.push(now); map.draw(); setPath(); });
  on("walk", walk);
  on("clear", async () => { endPath(); map.clear(); stops = []; setPath(); });
  on("save", () => save("own"));
  on("save-json", () => save("json"));
  on("save-sound", async () => {
    const called = title;
    const { url } = await source.sound(now);
    download(url, `${called}.${source.canFind ? "wav" : url.split(".").pop()}`);
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
    $("record").disabled = true; // until the microphone is on or off
    try {
      if (!going) await recorder.start();
      showRecording(!going);
      if (!going) return say("Recording… hum, then stop.");
      const recording = await recorder.stop();
      trying(() => find(recording, "your recording"));
    } finally {
      $("record").disabled = false;
    }
  });
  document.addEventListener("keydown", shortcut);
  addEventListener("hashchange", (event) => trying(() => restoreFromAddress(new URL(event.newURL))));
  listenToSearch();
  listenToRelatives();
  listenToDrops();
}

/** Keys of the whole page: search, undo, redo, and the comparison by ear. */
function shortcut(event) {
  const typing = event.target.matches("input[type=search], select");
  if ((event.ctrlKey || event.metaKey) && !typing) {
    const key = event.key.toLowerCase();
    if (key !== "z" && key !== "y") return;
    event.preventDefault();
    trying(() => undoing.step(key === "y" || event.shiftKey ? 1 : -1));
  } else if (event.key === "/" && !event.target.matches("input, select")) {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === " " && !event.target.closest("button, input:not([type=range]), select, summary, canvas, a")) {
    event.preventDefault();
    trying(() => hearTarget(!comparing));
  }
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
      const { hash } = await source.ping();
      if (gone || hash !== state.hash) say(hash === state.hash ? "The server is back." : "Another run is served here now; load the page again.", hash !== state.hash);
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
  $("about").textContent = `${synth}, ${counted(names.length)}, ${model}, note ${note.pitch}`;
  document.title = `${state.run} – pyrosynth explorer`;
  for (const slider of state.controls) {
    $(slider.kind === "principal" ? "principal" : "sliders").append(buildSlider(slider));
  }
  buildKnobs();
  buildKeys();
  favourites.show();
  for (const panel of ["find", "keyboard-panel", "favourites-panel", "breed-panel", "find-similar", "keep", "knobs-hint"]) $(panel).hidden = !source.canFind;
  if (!source.canFind) showStatic();
  $("record").hidden = !navigator.mediaDevices;
  const [[left, right], [bottom, top]] = state.plane_ends;
  $("map-hint").append(` From left to right sounds go from ${left} to ${right}, from below from ${bottom} to ${top}.`);
  map.show(state.plane, names, state.plane_ends);
  filters.build();
  filters.show();
  listen();
  const wrong = await restoreFromAddress().then(() => null, (error) => error);
  if (wrong && !(wrong instanceof Told)) throw wrong;
  const instead = now ? "" : "; the first preset is shown instead";
  if (!now) await load(0);
  if (wrong) say(wrong.message + instead, true);
  if (source.canFind) watch();
  document.documentElement.dataset.ready = "yes";
});
