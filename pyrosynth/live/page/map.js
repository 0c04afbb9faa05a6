"use strict";
// The map: presets as dots, the current point as a ring, marks, a path as a line.

const REACH = 24; // pixels from a dot within which it is meant
const NAMED = 60; // presets in view at most, for their names to be written
const STEP = 1.5; // of the zoom, for each key or button
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

class PresetMap {
  /** `on` has hover(number | null), choose(number), drawn(places), tell(text) and seen(). */
  constructor(canvas, tip, on) {
    Object.assign(this, { canvas, tip, on });
    this.at = [];
    this.names = [];
    this.share = [];
    this.shown = []; // of each preset, whether it is shown
    this.ends = [["", ""], ["", ""]];
    this.here = null; // the current point
    this.focus = null; // number of the preset that is pointed at
    this.path = [];
    this.marks = {}; // places by what they are: hits of a search, the similar, children, a cloud
    this.drawing = false;
    this.pen = false;
    this.frame = null;
    this.view = new View(canvas, (moved) => this.seen(moved));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    for (const ended of ["pointerup", "pointercancel"]) canvas.addEventListener(ended, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => { if (!this.pen) this.point(null); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => {
      const byKey = !this.pen && !this.view.down.size;
      if (byKey && this.focus === null) this.point(this.nearest(this.here || [0.5, 0.5]), true);
    });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** `ends` are the words at the left and right, then at the bottom and top. */
  show(at, names, ends) {
    Object.assign(this, { at, names, ends, shown: at.map(() => true) });
    this.draw();
  }

  colour(share) {
    this.share = share;
    this.draw();
  }

  /** Show some of the presets, the others faintly. */
  filter(shown) {
    this.shown = shown;
    if (this.focus !== null && !shown[this.focus]) this.point(null);
    this.draw();
  }

  /** Mark places as something, in the stead of those before. */
  mark(as, places) {
    this.marks[as] = places;
    this.draw();
  }

  /** All places that are marked as presets: hits of a search, the similar, children. */
  get marked() { return ["hits", "similar", "children"].flatMap((as) => this.marks[as] ?? []); }

  pixel(place) { return this.view.pixel(place); }

  /** Number of the preset nearest to a place; null if it is further than so many pixels. */
  nearest(place, reach = Infinity) {
    const [x, y] = this.pixel(place);
    let best = null;
    let least = reach ** 2;
    this.at.forEach((other, i) => {
      if (!this.shown[i]) return;
      const [u, v] = this.pixel(other);
      const d = (u - x) ** 2 + (v - y) ** 2;
      if (d <= least) { best = i; least = d; }
    });
    return best;
  }

  move(event) {
    const place = this.view.place(this.view.at(event));
    if (this.pen) {
      this.path.push(place);
      this.draw();
    } else if (this.view.down.has(event.pointerId)) {
      this.view.drag(event);
    } else if (event.pointerType !== "touch") {
      this.point(this.nearest(place, REACH));
    }
  }

  down(event) {
    if (!this.drawing) return this.view.press(event);
    this.canvas.setPointerCapture(event.pointerId);
    this.pen = true;
    this.path = [this.view.place(this.view.at(event))];
  }

  up(event) {
    if (this.pen) this.on.drawn(this.path);
    this.pen = false;
    if (!this.view.release(event)) return;
    const number = this.nearest(this.view.place(this.view.at(event)), REACH);
    if (number !== null) this.on.choose(number);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = WAYS[event.key];
    const about = this.focus === null ? undefined : this.pixel(this.at[this.focus]);
    if (way && event.shiftKey) this.view.pan(-way[0] * this.canvas.clientWidth / 5, way[1] * this.canvas.clientHeight / 5);
    else if (way) this.point(this.beside(way), true);
    else if (event.key === "+" || event.key === "=") this.view.enlarge(STEP, about);
    else if (event.key === "-") this.view.enlarge(1 / STEP, about);
    else if (event.key === "0") this.view.go([0.5, 0.5], 1);
    else if (event.key === "Enter" && this.focus !== null) this.on.choose(this.focus);
    else if (event.key === " " && this.focus !== null) this.on.hover(this.focus);
    else return;
    event.preventDefault();
  }

  /** The nearest preset in a direction, those ahead before those aside. */
  beside([dx, dy]) {
    if (this.focus === null) return this.nearest(this.here || [0.5, 0.5]);
    const [x, y] = this.at[this.focus];
    let best = this.focus;
    let least = Infinity;
    this.at.forEach(([u, v], i) => {
      const ahead = (u - x) * dx + (v - y) * dy;
      const aside = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
      const far = ahead + 3 * aside;
      if (this.shown[i] && ahead > 1e-6 && far < least) { best = i; least = far; }
    });
    return best;
  }

  /** Point at a preset; by a key it is brought into view, and told. */
  point(number, byKey = false) {
    if (number === this.focus) return;
    this.focus = number;
    this.on.hover(number);
    if (byKey && number !== null) {
      this.view.reveal(this.at[number]);
      this.on.tell(this.names[number], number);
    }
    this.draw();
  }

  /** Another part is seen; if somebody has moved it, how much is in it is told. */
  seen(moved) {
    this.draw();
    this.on.seen();
    if (!moved) return;
    const many = this.at.filter((place, i) => this.shown[i] && this.view.sees(place)).length;
    this.on.tell(`${this.view.zoom === 1 ? "The whole map" : `Enlarged ${this.view.zoom.toFixed(1)} times`}, ${counted(many)} in view`);
  }

  go(place) {
    this.here = place;
    this.draw();
  }

  clear() {
    this.path = [];
    this.draw();
  }

  /** Draw all before the next frame. */
  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const { clientWidth: w, clientHeight: h } = canvas;
    if (!w || !h) return; // nothing can be painted on a page that has no room for it
    canvas.width = Math.round(w * scale);
    canvas.height = Math.round(h * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const [ink, accent, card] = ["--ink", "--accent", "--card"].map((name) => style.getPropertyValue(name));
    const many = Math.sqrt((w * h) / Math.max(this.at.length, 1)) / 4;
    const size = Math.min(7, Math.max(2, Math.min(5, many)) * this.view.zoom ** 0.3);
    context.drawImage(this.dots(size), 0, 0, w, h);
    for (const place of this.marks.cloud ?? []) this.ring(context, place, 6, ink, 1.5);
    for (const place of this.marks.hits ?? []) this.ring(context, place, size + 3, accent, 2);
    for (const place of this.marks.similar ?? []) this.polygon(context, place, size + 6, 4, ink);
    for (const place of this.marks.children ?? []) this.polygon(context, place, size + 5, 3, accent);
    if (this.path.length) {
      context.strokeStyle = accent;
      context.lineWidth = 3;
      context.lineJoin = "round";
      context.beginPath();
      this.path.forEach((place) => context.lineTo(...this.pixel(place)));
      context.stroke();
      for (const place of [this.path[0], this.path.at(-1)]) this.ring(context, place, 5, accent);
    }
    if (this.here) {
      this.ring(context, this.here, 11, ink);
      this.ring(context, this.here, 8, accent);
    }
    if (this.focus !== null) this.ring(context, this.at[this.focus], size + 4, ink);
    const font = `px ${style.fontFamily || "sans-serif"}`;
    const write = (text, u, v, align, pixels) => {
      Object.assign(context, { font: pixels + font, textAlign: align, textBaseline: "middle", lineWidth: 4, strokeStyle: card, fillStyle: ink });
      context.strokeText(text, u, v); // a ground that keeps it readable above dots
      context.fillText(text, u, v);
    };
    context.font = 12 + font;
    const [[left, right], [bottom, top]] = this.ends;
    const words = [
      [`← ${left}`, 4, h / 2, "left"], [`${right} →`, w - 4, h / 2, "right"],
      [`↓ ${bottom}`, w / 2, h - 10, "center"], [`↑ ${top}`, w / 2, 10, "center"],
    ];
    const taken = words.map(([text, u, v, align]) => {
      const wide = 1.15 * context.measureText(text).width; // they are written larger
      const from = { left: u, right: u - wide, center: u - wide / 2 }[align];
      return { left: from, right: from + wide, top: v - 9, bottom: v + 9 };
    });
    this.writeNames(context, write, size, taken);
    for (const word of words) write(...word, 13);
    this.showTip();
  }

  /** Return a picture of all dots: they are many and change seldom, so it is kept until they do. */
  dots(size) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const { width, height } = this.canvas;
    const { x, y, zoom } = this.view;
    const of = [width, height, x, y, zoom, size, dark, this.at, this.share, this.shown];
    if (this.dotted && of.every((part, i) => part === this.dotted.of[i])) return this.dotted.picture;
    const picture = new OffscreenCanvas(width, height);
    const context = picture.getContext("2d");
    context.scale(width / this.canvas.clientWidth, height / this.canvas.clientHeight);
    this.at.forEach((place, i) => {
      if (!this.view.sees(place)) return;
      // The ends of the ramp vanish on white and on black: each theme leaves its own out.
      const share = this.share[i] ?? 0.5;
      context.fillStyle = `rgb(${shade(dark ? 0.25 + 0.75 * share : 0.05 + 0.78 * share)})`;
      context.globalAlpha = this.shown[i] ? 0.85 : 0.1;
      context.beginPath();
      context.arc(...this.pixel(place), size, 0, 2 * Math.PI);
      context.fill();
    });
    this.dotted = { of, picture };
    return picture;
  }

  /** Write the names of the presets in view, if they are few, beside their dots where `taken` leaves room. */
  writeNames(context, write, size, taken) {
    const inView = this.at.flatMap((place, i) => (this.shown[i] && this.view.sees(place) ? [i] : []));
    if (inView.length > NAMED) return;
    for (const i of inView) {
      const [u, v] = this.pixel(this.at[i]);
      const box = { left: u + size + 3, right: u + size + 9 + context.measureText(this.names[i]).width, top: v - 9, bottom: v + 9 };
      const hit = (other) => box.left < other.right && box.right > other.left && box.top < other.bottom && box.bottom > other.top;
      if (taken.some(hit) || box.right > this.canvas.clientWidth) continue;
      taken.push(box);
      write(this.names[i], box.left, v, "left", 12);
    }
  }

  ring(context, place, radius, colour, width = 2.5) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(...this.pixel(place), radius, 0, 2 * Math.PI);
    context.stroke();
  }

  /** A triangle or a square, which differ from rings without colour too. */
  polygon(context, place, radius, corners, colour) {
    const [u, v] = this.pixel(place);
    context.strokeStyle = colour;
    context.lineWidth = 2;
    context.beginPath();
    for (let k = 0; k < corners; k += 1) {
      const angle = (2 * Math.PI * (k + (corners === 4 ? 0.5 : 0))) / corners - Math.PI / 2;
      context.lineTo(u + radius * Math.cos(angle), v + radius * Math.sin(angle));
    }
    context.closePath();
    context.stroke();
  }

  showTip() {
    this.tip.hidden = this.focus === null || !this.view.sees(this.at[this.focus]);
    if (this.tip.hidden) return;
    const [x, y] = this.pixel(this.at[this.focus]);
    this.tip.textContent = this.names[this.focus];
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(this.canvas.clientWidth - half, Math.max(half, x))}px`;
    this.tip.style.top = `${Math.max(y, 40)}px`;
  }
}

/** A number of presets, in words. */
function counted(many) {
  return many === 1 ? "1 preset" : `${many ? many.toLocaleString("en") : "no"} presets`;
}
