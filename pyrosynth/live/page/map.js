"use strict";
// The map: presets as dots, the current point as a ring, a path as a line.

const MARGIN = 16;
const REACH = 24; // pixels from a dot within which it is meant

class PresetMap {
  /** `on` has hover(number | null), choose(number) and drawn(places). */
  constructor(canvas, tip, on) {
    Object.assign(this, { canvas, tip, on });
    this.at = [];
    this.names = [];
    this.share = [];
    this.ends = [["", ""], ["", ""]];
    this.here = null; // the current point
    this.focus = null; // number of the preset that is pointed at
    this.path = [];
    this.cloud = []; // draws of the posterior
    this.hits = []; // numbers of the presets that a search has found
    this.drawing = false;
    this.pen = false;
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointerup", () => this.up());
    canvas.addEventListener("pointercancel", () => this.up());
    canvas.addEventListener("pointerleave", () => { if (!this.pen) this.point(null); });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("focus", () => { if (this.focus === null) this.point(this.nearest(this.here || [0.5, 0.5])); });
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** `ends` are the words at the left and right, then at the bottom and top. */
  show(at, names, ends) {
    this.at = at;
    this.names = names;
    this.ends = ends;
    this.draw();
  }

  colour(share) {
    this.share = share;
    this.draw();
  }

  /** Place on the canvas, in CSS pixels, of a place on the map. */
  pixel([x, y]) {
    const { clientWidth: w, clientHeight: h } = this.canvas;
    return [MARGIN + x * (w - 2 * MARGIN), h - MARGIN - y * (h - 2 * MARGIN)];
  }

  place(event) {
    const box = this.canvas.getBoundingClientRect();
    const { clientWidth: w, clientHeight: h } = this.canvas;
    const clip = (c) => Math.min(1, Math.max(0, c));
    return [
      clip((event.clientX - box.left - MARGIN) / (w - 2 * MARGIN)),
      clip((h - MARGIN - (event.clientY - box.top)) / (h - 2 * MARGIN)),
    ];
  }

  /** Number of the preset nearest to a place; null if it is further than so many pixels. */
  nearest(place, reach = Infinity) {
    const [x, y] = this.pixel(place);
    let best = null;
    let least = reach ** 2;
    this.at.forEach((other, i) => {
      const [u, v] = this.pixel(other);
      const d = (u - x) ** 2 + (v - y) ** 2;
      if (d <= least) { best = i; least = d; }
    });
    return best;
  }

  move(event) {
    const place = this.place(event);
    if (this.pen) {
      this.path.push(place);
      this.draw();
    } else if (event.pointerType !== "touch") {
      this.point(this.nearest(place, REACH));
    }
  }

  down(event) {
    const place = this.place(event);
    if (this.drawing) {
      this.canvas.setPointerCapture(event.pointerId);
      this.pen = true;
      this.path = [place];
      return;
    }
    const number = this.nearest(place, REACH);
    if (number !== null) this.on.choose(number);
  }

  up() {
    if (this.pen) this.on.drawn(this.path);
    this.pen = false;
  }

  key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
    if (event.key in ways) this.point(this.beside(ways[event.key]));
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
      if (ahead > 1e-6 && far < least) { best = i; least = far; }
    });
    return best;
  }

  point(number) {
    if (number === this.focus) return;
    this.focus = number;
    this.on.hover(number);
    this.draw();
  }

  go(place) {
    this.here = place;
    this.draw();
  }

  clear() {
    this.path = [];
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const { clientWidth: w, clientHeight: h } = canvas;
    canvas.width = Math.round(w * scale);
    canvas.height = Math.round(h * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--ink");
    const accent = style.getPropertyValue("--accent");
    const size = Math.max(2, Math.min(5, Math.sqrt((w * h) / Math.max(this.at.length, 1)) / 4));
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    this.at.forEach((place, i) => {
      const [x, y] = this.pixel(place);
      // The ends of the ramp vanish on white and on black: each theme leaves its own out.
      const share = this.share[i] ?? 0.5;
      context.fillStyle = `rgb(${shade(dark ? 0.25 + 0.75 * share : 0.05 + 0.78 * share)})`;
      context.globalAlpha = 0.85;
      context.beginPath();
      context.arc(x, y, size, 0, 2 * Math.PI);
      context.fill();
    });
    context.globalAlpha = 1;
    for (const number of this.hits) this.ring(context, this.at[number], size + 3, accent, 2);
    for (const place of this.cloud) this.ring(context, place, 6, ink, 1.5);
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
    this.write(context, style, w, h);
    this.tell();
  }

  /** Write the words at the edges, on a ground that keeps them readable above dots. */
  write(context, style, w, h) {
    const [[left, right], [bottom, top]] = this.ends;
    context.font = `13px ${style.fontFamily || "sans-serif"}`;
    context.textBaseline = "middle";
    const words = [[left, "left", 4, h / 2], [right, "right", w - 4, h / 2], [bottom, "center", w / 2, h - 10], [top, "center", w / 2, 10]];
    for (const [word, align, x, y] of words) {
      context.textAlign = align;
      context.lineWidth = 4;
      context.strokeStyle = style.getPropertyValue("--card");
      context.strokeText(word, x, y);
      context.fillStyle = style.getPropertyValue("--ink");
      context.fillText(word, x, y);
    }
  }

  ring(context, place, radius, colour, width = 2.5) {
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    context.arc(...this.pixel(place), radius, 0, 2 * Math.PI);
    context.stroke();
  }

  tell() {
    this.tip.hidden = this.focus === null;
    if (this.focus === null) return;
    const [x, y] = this.pixel(this.at[this.focus]);
    this.tip.textContent = this.names[this.focus];
    const half = this.tip.offsetWidth / 2;
    this.tip.style.left = `${Math.min(this.canvas.clientWidth - half, Math.max(half, x))}px`;
    this.tip.style.top = `${Math.max(y, 40)}px`;
  }
}
