"use strict";
// The knobs: every parameter of the synth, in groups, to be moved and locked.

const locks = new Set(); // names of the parameters that stay where they are
let halo = {}; // intervals of the parameters, given the sound to be met, from 0 to 1

/** Return the locked parameters with their values, for the server. */
function locked() {
  return Object.fromEntries([...locks].map((name) => [name, now.values[state.params.findIndex((p) => p.name === name)]]));
}

/** Return the name of a parameter with its part, as the knobs have them. */
function knobName(name) {
  const { group, label } = state.params.find((param) => param.name === name);
  return group === "others" ? label : `${group} ${label}`;
}

/** Return the native value of a share of a parameter's range. */
function native(param, share) {
  if (param.curve === "logarithmic") return param.min * (param.max / param.min) ** share;
  return param.min + share * (param.max - param.min);
}

function shownValue(param, value, share) {
  const label = param.labels[Math.round(share * (param.labels.length - 1))];
  if (!label && param.kind === "toggle") return share > 0.5 ? "on" : "off";
  return label ?? read(param.reading, value);
}

/** Return what people read for a native value of a parameter without labels. */
function read({ unit, scale, power, offset }, value) {
  const number = scale * Math.sign(value) * Math.abs(value) ** power + offset;
  const [shown, of] = unit === "s" && Math.abs(number) < 1 ? [1000 * number, "ms"] : [number, unit];
  return `${Number(shown.toPrecision(3))} ${of}`.trim();
}

function buildKnob(param, i) {
  const box = document.createElement("div");
  box.className = "knob";
  const id = `k-${i}`;
  const label = Object.assign(document.createElement("label"), { htmlFor: id, textContent: param.label });
  const chooses = param.labels.length > 0;
  const input = document.createElement(chooses ? "select" : "input");
  if (chooses) {
    input.append(...param.labels.map((text, k) => new Option(text, k / (param.labels.length - 1))));
  } else if (param.kind === "toggle") {
    Object.assign(input, { type: "checkbox" });
  } else {
    Object.assign(input, { type: "range", min: 0, max: 1, step: 1 / (param.levels - 1) });
  }
  Object.assign(input, { id, name: param.name, disabled: !source.canFind });
  input.setAttribute("aria-label", `${param.group} ${param.label}${param.reading.unit ? `, ${param.reading.unit}` : ""}`);
  followed(input, ({ z, values }) => {
    const share = param.kind === "toggle" && !chooses ? Number(input.checked) : Number(input.value);
    const { [param.name]: _, ...others } = locked();
    return source.point({ knobs: values.with(i, native(param, share)), near: z, locked: others, sound: true });
  });
  const lock = Object.assign(document.createElement("button"), { type: "button", className: "lock", hidden: !source.canFind });
  lock.setAttribute("aria-label", `Lock ${param.group} ${param.label}`);
  lock.addEventListener("click", () => {
    if (!locks.delete(param.name)) locks.add(param.name);
    showLock(box, param);
    keepInAddress();
  });
  const band = Object.assign(document.createElement("div"), { className: "band" });
  const output = Object.assign(document.createElement("output"), { hidden: chooses }); // a list says it itself
  box.append(label, output, lock, input, band);
  return box;
}

function showLock(box, param) {
  const on = locks.has(param.name);
  const lock = box.querySelector(".lock");
  lock.setAttribute("aria-pressed", on);
  lock.textContent = on ? "Locked" : "Lock";
}

function buildKnobs() {
  const groups = new Map();
  state.params.forEach((param, i) => {
    if (!groups.has(param.group)) {
      const set = document.createElement("fieldset");
      set.append(Object.assign(document.createElement("legend"), { textContent: param.group }));
      groups.set(param.group, set);
    }
    groups.get(param.group).append(buildKnob(param, i));
  });
  $("knobs").append(...groups.values());
}

/** Show the values of the current preset, except on the knob that is being moved. */
function showKnobs(except) {
  for (const [i, param] of state.params.entries()) {
    const input = $(`k-${i}`);
    const box = input.parentElement;
    const share = now.unit[i];
    box.querySelector("output").textContent = shownValue(param, now.values[i], share);
    if (param.name !== except) {
      if (input.type === "checkbox") input.checked = share > 0.5;
      else if (param.labels.length) input.selectedIndex = Math.round(share * (param.labels.length - 1));
      else input.value = share;
    }
    showLock(box, param);
    const ordered = param.labels.length === 0 && param.kind !== "toggle";
    const likely = ordered && halo[param.name];
    const band = box.querySelector(".band");
    band.hidden = !likely;
    if (likely) {
      band.style.setProperty("--from", `${100 * likely[0]}%`);
      band.style.setProperty("--to", `${100 * likely[1]}%`);
      const [low, high] = likely.map((end) => shownValue(param, native(param, end), end));
      band.title = low === high ? `the sound wants ${low}` : `the sound wants ${low} to ${high}`;
    }
  }
}
