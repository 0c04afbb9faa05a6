"use strict";
// What only a static export shows: sounds that were looked for, and what its sliders move.

/** A list item with a button that goes to a point. */
function toPoint(point, text, before = () => {}) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: text });
  button.addEventListener("click", () => trying(() => { before(); return visit(async () => point, point.name); }));
  item.append(leading(button, point));
  return item;
}

function showStatic() {
  $("about").textContent += ", all rendered beforehand";
  $("random").textContent = "Any preset";
  $("random").title = "One of the presets on this page";
  $("further").hidden = true;
  const { found } = source.data;
  $("found").hidden = !found.length;
  $("answers").replaceChildren(...found.map((point) => toPoint(
    point,
    `${point.target}: ${point.lsd_db.toFixed(1)} dB, ${point.closeness}`,
    () => setTarget({ url: point.heard.sound, level: point.heard.level, called: point.target }, point.heard.picture, point.play),
  )));
  const moved = source.swept.filter((point) => !found.includes(point));
  const known = moved.length ? ["these presets"] : [];
  const answers = found.length ? ["what was found for sounds"] : [];
  $("moved-hint").hidden = false;
  $("moved-hint").textContent = `On this page sliders move ${[...answers, ...known].join(" and ") || "nothing"}, one at a time.`;
  $("moved").replaceChildren(...moved.map((point) => toPoint(point, point.name)));
}

/** Say which preset the sliders move, if they move one; return whether they do. */
function showMoved() {
  const start = source.start(now);
  $("sliders-title").textContent = start ? `Move “${start.name}”` : `“${title}” cannot be moved on this page`;
  $("sliders").hidden = !start;
  return Boolean(start);
}
