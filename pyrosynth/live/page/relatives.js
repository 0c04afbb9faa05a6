"use strict";
// Presets similar to the current one, and children of two presets.

const RECENT = 8; // presets visited before that can be bred

/** Say what distinguishes a preset: the classes of its tags, but those in the middle. */
function described(number) {
  const words = state.tags.flatMap(({ classes, of }) => {
    const middle = classes.length % 2 && of[number] === (classes.length - 1) / 2;
    return middle ? [] : [classes[of[number]]];
  });
  return [state.names[number], ...words].join(", ");
}

let similarAsked = 0; // how often the list was asked for or closed: the latest counts

async function showSimilar() {
  similarAsked += 1;
  const mine = similarAsked;
  const called = title;
  const found = await source.similar(now);
  if (mine !== similarAsked) return;
  $("similar-panel").hidden = false;
  $("similar-title").textContent = `Similar to ${called}`;
  $("similar").replaceChildren(...found.map(({ preset, lsd_db: far, closeness }) => (
    listed(`${state.names[preset]}: ${far.toFixed(1)} dB, ${closeness}`, () => load(preset))
  )));
  map.mark("similar", found.map(({ preset }) => state.plane[preset]));
  filters.show();
  say(`${counted(found.length)} similar to ${called}: marked by squares, and listed`);
}

function forgetSimilar() {
  similarAsked += 1;
  $("similar-panel").hidden = true;
  map.mark("similar", []);
  filters.show();
}

const breeding = {
  parents: [],
  seed: 0,
  born: 0, // children of these parents so far
  asked: 0, // how often children were wanted: the latest counts

  /** What can be bred: the preset that is shown, those kept, those visited before. */
  offer() {
    const known = new Map();
    const before = undoing.done.slice(-RECENT).reverse().map(({ point, title: name }) => ({ name, z: point.z, values: point.values }));
    for (const preset of [...favourites.all(), ...before]) {
      const key = shortened(preset.values);
      if (!known.has(key) && key !== shortened(now.values)) known.set(key, preset);
    }
    this.known = known;
    for (const [i, select] of [$("first-parent"), $("second-parent")].entries()) {
      const chosen = select.value;
      select.replaceChildren(
        ...(i === 0 ? [new Option(`${title} (shown)`, "shown")] : []),
        ...[...known].map(([key, { name }]) => new Option(name, key)),
      );
      if (chosen && (known.has(chosen) || (i === 0 && chosen === "shown"))) select.value = chosen;
    }
    $("breed").disabled = !known.size;
  },

  parent(select) {
    return select.value === "shown" ? { name: title, z: now.z, values: now.values } : this.known.get(select.value);
  },

  async start() {
    this.parents = [this.parent($("first-parent")), this.parent($("second-parent"))];
    this.seed = this.born = 0;
    await this.breed();
  },

  async others() {
    this.seed += 1;
    await this.breed();
  },

  async breed() {
    this.asked += 1;
    const mine = this.asked;
    const names = this.parents.map(({ name }) => name);
    say(`Breeding ${names.join(" and ")}…`);
    const children = await source.breed(this.parents, this.seed, locked());
    if (mine !== this.asked) return;
    $("children").replaceChildren(...children.map((child, i) => {
      const called = `${names.join(" × ")} ${this.born + i + 1}`;
      const [first, second] = child.lsd_db.map((far) => far.toFixed(1));
      const item = listed(
        `${first} dB from ${names[0]}, ${second} dB from ${names[1]}`, () => trying(() => visit(async () => child, called)),
        "Play", () => trying(async () => player.play((await source.sound(child)).url)),
        "Keep", () => trying(async () => favourites.add(called, child)),
      );
      leading(item.firstChild, child);
      for (const button of item.querySelectorAll(":nth-child(n + 2)")) button.setAttribute("aria-label", `${button.textContent} child ${i + 1}`);
      return item;
    }));
    showCurrent();
    this.born += children.length;
    $("other-children").disabled = false;
    map.mark("children", children.map(({ place }) => place));
    filters.show();
    say(`${children.length} ${children.length === 1 ? "child" : "children"} of ${names.join(" and ")}: marked by triangles, and listed`);
  },
};

function listenToRelatives() {
  const on = (id, action) => $(id).addEventListener("click", () => trying(action));
  on("find-similar", showSimilar);
  on("forget-similar", async () => forgetSimilar());
  on("breed", () => breeding.start());
  on("other-children", () => breeding.others());
}
