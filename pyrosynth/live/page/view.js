"use strict";
// The part of the map that is seen: zoom and pan, by wheel, drag, pinch and keys.

const MARGIN = 16; // pixels around the map
const CLOSEST = 64; // zoom at most
const STILL = 5; // pixels that a pointer may move and yet click
const SCROLL_MS = 400; // that a scroll of the page goes on over the map

class View {
  /** `changed(moved)` is called when another part is seen, by hand or not. */
  constructor(canvas, changed) {
    Object.assign(this, { canvas, changed });
    this.x = this.y = 0.5; // the place in the middle
    this.zoom = 1;
    this.down = new Map(); // where each pointer is that is pressed
    this.begun = [0, 0];
    this.dragged = false;
    this.scrolled = -SCROLL_MS; // when the page was scrolled, for the last time
    addEventListener("wheel", (event) => { if (event.target !== canvas) this.scrolled = event.timeStamp; }, { passive: true });
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
  }

  get size() { return [this.canvas.clientWidth, this.canvas.clientHeight]; }

  /** Where a place of the map is on the canvas, in CSS pixels. */
  pixel([x, y]) {
    const [w, h] = this.size;
    return [w / 2 + (x - this.x) * this.zoom * (w - 2 * MARGIN), h / 2 - (y - this.y) * this.zoom * (h - 2 * MARGIN)];
  }

  /** The place of the map at a pixel of the canvas. */
  place([u, v]) {
    const [w, h] = this.size;
    const at = [this.x + (u - w / 2) / this.zoom / (w - 2 * MARGIN), this.y - (v - h / 2) / this.zoom / (h - 2 * MARGIN)];
    return at.map((c) => Math.min(1, Math.max(0, c)));
  }

  /** Whether a place is seen. */
  sees(place) {
    const [u, v] = this.pixel(place);
    const [w, h] = this.size;
    return u >= 0 && u <= w && v >= 0 && v <= h;
  }

  /** See the part around a place, no more than there is. */
  go([x, y], zoom, moved = true) {
    this.zoom = Math.min(CLOSEST, Math.max(1, zoom || 1));
    const half = 0.5 / this.zoom;
    [this.x, this.y] = [x, y].map((c) => Math.min(1 - half, Math.max(half, c)));
    this.canvas.classList.toggle("zoomed", this.zoom > 1);
    this.changed(moved);
  }

  /** Enlarge by a factor, so that what is at a pixel stays there. */
  enlarge(factor, [u, v] = this.size.map((side) => side / 2)) {
    const zoom = Math.min(CLOSEST, Math.max(1, this.zoom * factor));
    const [x, y] = this.place([u, v]);
    const [w, h] = this.size;
    this.go([x - (u - w / 2) / zoom / (w - 2 * MARGIN), y + (v - h / 2) / zoom / (h - 2 * MARGIN)], zoom);
  }

  pan(right, down) {
    const [w, h] = this.size;
    this.go([this.x - right / this.zoom / (w - 2 * MARGIN), this.y + down / this.zoom / (h - 2 * MARGIN)], this.zoom);
  }

  /** See all of some places, as large as they fit. */
  fit(places) {
    const low = [0, 1].map((c) => Math.min(...places.map((p) => p[c])));
    const high = [0, 1].map((c) => Math.max(...places.map((p) => p[c])));
    const widest = Math.max(high[0] - low[0], high[1] - low[1], 1e-9);
    this.go([(low[0] + high[0]) / 2, (low[1] + high[1]) / 2], 0.8 / widest);
  }

  /** Bring a place into view. */
  reveal(place) {
    if (!this.sees(place)) this.go(place, this.zoom);
  }

  /** Zoom; where nothing is left to zoom out of, or in the midst of a scroll, the page scrolls. */
  wheel(event) {
    const out = event.deltaY > 0 && this.zoom === 1;
    const scrolling = event.timeStamp - this.scrolled < SCROLL_MS;
    if (scrolling) this.scrolled = event.timeStamp;
    if (!event.ctrlKey && (out || scrolling)) return;
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 30 : 1;
    this.enlarge(2 ** (-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), this.at(event));
  }

  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left - this.canvas.clientLeft, event.clientY - box.top - this.canvas.clientTop];
  }

  press(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.dragged = this.down.size > 0; // two fingers are no click
    this.down.set(event.pointerId, this.at(event));
    this.begun = this.at(event);
  }

  /** Follow a pointer that is pressed: one of them pans, two zoom. */
  drag(event) {
    const old = this.down.get(event.pointerId);
    const next = this.at(event);
    if (!this.dragged && Math.hypot(next[0] - this.begun[0], next[1] - this.begun[1]) < STILL) return;
    this.dragged = true;
    const other = [...this.down].find(([id]) => id !== event.pointerId)?.[1];
    this.down.set(event.pointerId, next);
    if (!other) return void this.pan(next[0] - old[0], next[1] - old[1]);
    const apart = ([u, v]) => Math.max(1, Math.hypot(u - other[0], v - other[1]));
    this.enlarge(apart(next) / apart(old), [0, 1].map((c) => (next[c] + other[c]) / 2));
  }

  /** Let a pointer go; return whether it was a click. */
  release(event) {
    return this.down.delete(event.pointerId) && !this.dragged && event.type === "pointerup";
  }
}
