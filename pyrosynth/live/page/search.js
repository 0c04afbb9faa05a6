"use strict";
// The sound to be met: a search that grows, its candidates, and the comparison by ear.

const FOUND_BY = { model: "model", posterior: "draw", bank: "known preset", cma: "search", genetic: "search" };
const USUAL_VELOCITY = 100;

let target = null; // the sound to be met: address, level, and the file it came from
let comparing = false; // whether the target is heard, instead of the preset
let searching = null; // what aborts the latest search
let seeds = 0; // of searches that go on

function showComparing(on) {
  comparing = on;
  $("ab").setAttribute("aria-pressed", on);
  $("ab").textContent = on ? "A/B: hear the preset" : "A/B: hear the target";
}

/** Hear the target or the preset, the louder of them as loud as the other, from where one is. */
async function hearTarget(on) {
  showComparing(on && target !== null);
  const point = now;
  const preset = await source.sound(point);
  if (now !== point) return;
  const sound = comparing ? target : preset;
  const quieter = Math.min(preset.level, target?.level ?? preset.level);
  await player.play(sound.url, true, Math.min(1, quieter / Math.max(sound.level, 1e-9)));
}

async function find(blob, called, start = null) {
  searching?.abort();
  const mine = new AbortController();
  searching = mine;
  const replaced = () => searching !== mine; // by another search, which tells what it finds
  const begun = wishes;
  say(`Listening to ${called}…`);
  seeds = start ? seeds + 1 : 0;
  const asked = { name: called, locked: locked(), seed: seeds, ...(start && { start: start.values }) };
  let play = null;
  let says = "";
  let best = null;
  let visited = null; // the candidate that the page went to by itself
  try {
    const sound = READ.test(called) || blob.type === "audio/wav" ? blob : await decoded(blob, called);
    for await (const news of source.search(sound, asked, mine.signal)) {
      if (mine.signal.aborted) break;
      if (news.waits) say(`Another search is under way; ${called} waits for its turn…`);
      if (news.target) {
        play = news.play;
        says = play ? "" : news.says; // the note says it
        showTarget(news, blob, called);
      }
      if (news.done) ({ says } = news);
      if (news.halo) showPosterior(news);
      if (news.candidates) {
        const first = !best;
        [best] = news.candidates;
        showCandidates(news, called);
        if (first && wishes === begun) {
          visited = best;
          await visit(async () => best, `like ${called}`);
        }
        if (first && !mine.signal.aborted) say(`The first candidates for ${called}; the search goes on…`);
      }
    }
  } catch (error) {
    if (!mine.signal.aborted) throw error;
  } finally {
    if (!replaced()) endSearch();
  }
  if (!best || replaced()) return;
  if (now === visited && source.key(best) !== source.key(visited) && !mine.signal.aborted) await visit(async () => best, `like ${called}`);
  if (replaced()) return;
  const note = play && `play it at ${noteWords(play)}`;
  const hints = locks.size ? `, with ${locks.size} locked` : "";
  say(`${[`Found a preset for ${called}`, note, says].filter(Boolean).join("; ")}; it is ${best.lsd_db.toFixed(1)} dB from the sound: ${best.closeness}${hints}.`);
}

/** Say how to play a note, with its velocity if that is not the usual one, as `Note.words` does. */
function noteWords({ name, note }) {
  const velocity = note.velocity === USUAL_VELOCITY ? "" : `, velocity ${note.velocity}`;
  return `${name}, ${note.hold_seconds.toFixed(1)} s${velocity}`;
}

function endSearch() {
  $("end-search").disabled = true;
  $("go-on").disabled = false;
}

function showTarget({ target: heard, play }, blob, called) {
  if (target) URL.revokeObjectURL(target.url);
  const url = URL.createObjectURL(new Blob([bytes(heard.wav)], { type: "audio/wav" }));
  setTarget({ url, level: heard.level, blob, called }, heard.picture, play);
  $("search-results").hidden = false;
  $("end-search").disabled = false;
  $("go-on").disabled = true;
}

/** Show a sound to be met: what is heard of it, its picture, and the note that plays it. */
function setTarget(sound, picture, play) {
  target = sound;
  $("target-figure").hidden = false;
  $("ab").disabled = false;
  drawPicture($("target"), picture);
  $("target-caption").textContent = play ? `Target: ${noteWords(play)}` : "Target";
}

function showPosterior({ cloud, halo: intervals }) {
  halo = intervals;
  map.mark("cloud", cloud);
  if (now) showKnobs(null);
}

function showCandidates({ candidates, renders }, called) {
  $("progress").textContent = `${renders} ${renders === 1 ? "sound" : "sounds"} rendered`;
  const focused = [...$("candidates").children].findIndex((item) => item.contains(document.activeElement));
  $("candidates").replaceChildren(...candidates.map((candidate) => {
    const item = document.createElement("li");
    const button = Object.assign(document.createElement("button"), { type: "button" });
    // What the synth can reach is said of the nearest one, at the end.
    const near = candidate.closeness.includes(" ") ? "far from it yet" : candidate.closeness;
    const told = [`${candidate.lsd_db.toFixed(1)} dB`, near, candidate.tuning].filter(Boolean).join(", ");
    button.textContent = `${told} (${FOUND_BY[candidate.source]})`;
    button.addEventListener("click", () => trying(() => visit(async () => candidate, `like ${called}`)));
    item.append(leading(button, candidate));
    return item;
  }));
  showCurrent();
  if (focused >= 0) $("candidates").children[focused]?.querySelector("button").focus();
}

function listenToSearch() {
  $("end-search").addEventListener("click", () => { searching?.abort(); say("The search is stopped; what was found stays."); });
  $("go-on").addEventListener("click", () => trying(() => find(target.blob, target.called, now)));
}
