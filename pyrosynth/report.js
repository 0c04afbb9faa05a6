"use strict";
// Of a report: one sound at a time, and buttons that switch between sounds, matched in loudness.
const players = (group) => [...group.querySelectorAll("audio")];
let latest = document.querySelector("[data-switch]");

function change(group) {
  const sounds = players(group);
  const now = sounds.findIndex((audio) => !audio.paused);
  const next = sounds[(now + 1) % sounds.length];
  for (const audio of sounds) audio.volume = Number(audio.dataset.gain);
  next.currentTime = now < 0 ? 0 : sounds[now].currentTime;
  next.play();
  const button = group.querySelector("button");
  const said = `A/B: this is ${next.getAttribute("aria-label")}`;
  if (group.matches("tr")) button.setAttribute("aria-label", said); // its text would widen the table
  else button.textContent = said;
  latest = group;
}

document.addEventListener("play", (event) => {
  for (const audio of players(document)) if (audio !== event.target) audio.pause();
}, true);
document.addEventListener("click", (event) => {
  if (event.target.matches("[data-switch] button")) change(event.target.closest("[data-switch]"));
});
document.addEventListener("keydown", (event) => {
  if (event.key !== " " || !latest || event.target.closest("audio, button, summary, a")) return;
  event.preventDefault();
  change(latest);
});
