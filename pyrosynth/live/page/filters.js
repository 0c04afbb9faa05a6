"use strict";
// Which presets the map shows and marks: by colour, a range of it, classes of tags, and names.

const LISTED = 12; // presets that a search lists

const filters = {
  build() {
    $("colour").append(...state.colours.map((c) => new Option(c.name)));
    $("colour").selectedIndex = Math.min(1, state.colours.length - 1);
    $("tags").append(...state.tags.map(({ name, classes }) => {
      const select = Object.assign(document.createElement("select"), { name });
      select.append(new Option("any", ""), ...classes.map((called, k) => new Option(called, k)));
      const label = document.createElement("label");
      label.append(name, select);
      return label;
    }));
    $("tags").addEventListener("change", () => this.change());
    for (const end of ["range-low", "range-high"]) $(end).addEventListener("input", () => this.change());
    $("colour").addEventListener("change", () => { this.range([0, 100]); this.paint(); this.change(); });
    $("search").addEventListener("input", () => this.change());
    $("show-all").addEventListener("click", () => { this.clear(); this.change(); });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.paint());
    $("zoom-to-marked").addEventListener("click", () => map.view.fit([...map.marked, map.here]));
    this.paint();
  },

  get colour() { return state.colours[$("colour").selectedIndex]; },

  get selects() { return [...$("tags").querySelectorAll("select")]; },

  get text() { return $("search").value.trim(); },

  /** The classes that are asked for, by their tags. */
  get classes() { return new Map(this.selects.filter((s) => s.value !== "").map((s) => [s.name, Number(s.value)])); },

  range([low, high]) {
    $("range-low").value = low >= 0 ? low : 0;
    $("range-high").value = high >= 0 ? high : 100;
  },

  clear() {
    for (const select of this.selects) select.value = "";
    $("search").value = "";
    this.range([0, 100]);
  },

  /** Numbers of the presets that are shown. */
  shown() {
    const [low, high] = [$("range-low"), $("range-high")].map((input) => Number(input.value) / 100);
    const wanted = state.tags.map(({ name, of }) => [of, this.classes.get(name)]).filter(([, k]) => k !== undefined);
    return state.names.map((_, i) => this.colour.of[i] >= low && this.colour.of[i] <= high && wanted.every(([of, k]) => of[i] === k));
  },

  /** Show what is asked for, and say how much that is. */
  change() {
    this.show();
    keepInAddress();
    const many = map.shown.filter(Boolean).length;
    const some = many < state.names.length ? `, of the ${many.toLocaleString("en")} that are shown` : "";
    if (!this.text) return say(some && `${counted(many)} of ${state.names.length.toLocaleString("en")} shown`);
    const hits = map.marks.hits.length;
    const listed = hits > LISTED ? `; the first ${LISTED} are listed, all are marked` : "";
    say(`${counted(hits)} ${hits === 1 ? "has" : "have"} "${this.text}" in the name${some}${listed}`);
  },

  show() {
    const shown = this.shown();
    map.filter(shown);
    const text = this.text.toLowerCase();
    const hits = state.names.flatMap((name, i) => (text && shown[i] && name.toLowerCase().includes(text) ? [i] : []));
    $("results").replaceChildren(...hits.slice(0, LISTED).map((i) => listed(state.names[i], () => load(i))));
    map.mark("hits", hits.map((i) => state.plane[i]));
    const [low, high] = [$("range-low").value, $("range-high").value];
    const { name, ends } = this.colour;
    $("range-title").textContent = `Range of ${name}`;
    $("range-low").setAttribute("aria-label", `${name}, from`);
    $("range-high").setAttribute("aria-label", `${name}, to`);
    const all = low === "0" && high === "100";
    $("range-said").textContent = all ? "all" : `${low} % to ${high} %, from ${ends[0]} to ${ends[1]}`;
    const many = shown.filter(Boolean).length;
    const found = text ? `, ${hits.length} of them found` : "";
    $("shown-count").textContent = text || many < shown.length ? `${many.toLocaleString("en")} of ${counted(shown.length)} shown${found}` : "";
    $("zoom-to-marked").disabled = !map.marked.length;
    $("show-all").disabled = all && !this.text && !this.classes.size;
  },

  /** Colour the dots and the legend. */
  paint() {
    map.colour(this.colour.of);
    [$("low").textContent, $("high").textContent] = this.colour.ends;
    const context = $("ramp").getContext("2d");
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    for (let x = 0; x < 160; x += 1) {
      const share = x / 159;
      context.fillStyle = `rgb(${shade(dark ? 0.25 + 0.75 * share : 0.05 + 0.78 * share)})`;
      context.fillRect(x, 0, 1, 10);
    }
  },

  /** Put all of the map into an address that is not as at the beginning. */
  keep(asked) {
    const { x, y, zoom } = map.view;
    const [low, high] = [$("range-low").value, $("range-high").value];
    asked.set("colour", this.colour.name);
    if (zoom > 1) asked.set("view", shortened([x, y, zoom]));
    if (this.text) asked.set("find", this.text);
    for (const [name, k] of this.classes) asked.append("only", `${k}:${name}`); // names may hold anything
    if (low !== "0" || high !== "100") asked.set("range", `${low},${high}`);
  },

  /** Show the map as an address has it. */
  restore(asked) {
    const numbers = (name) => (asked.get(name) ?? "").split(",").map(Number);
    this.clear();
    const colour = state.colours.findIndex((c) => c.name === asked.get("colour"));
    if (colour >= 0) $("colour").selectedIndex = colour;
    if (asked.has("range")) this.range(numbers("range"));
    $("search").value = asked.get("find") ?? "";
    const only = new Map(asked.getAll("only").map((one) => [one.slice(one.indexOf(":") + 1), one.split(":")[0]]));
    for (const select of this.selects) if (only.has(select.name)) select.value = only.get(select.name);
    for (const select of this.selects) if (select.selectedIndex < 0) select.value = ""; // no such class
    const [x, y, zoom] = numbers("view");
    const there = [x, y, zoom].every(Number.isFinite) && asked.has("view");
    map.view.go(there ? [x, y] : [0.5, 0.5], there ? zoom : 1, false);
    this.paint();
    this.show();
  },
};
