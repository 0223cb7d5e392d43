// The stage: one picture, fitted or at its pixels, and the photo laid over its left part.

const STOPS = [0.125, 0.25, 0.5, 1, 2, 4, 8]; // device pixels per picture pixel

class Stage {
  constructor(host, onChange) {
    Object.assign(this, { host, onChange, frame: part("frame"), split: 0.5, comparing: false, pointing: false });
    this.size = [1, 1];
    this.most = 3; // CSS px per picture px, fitted: a small picture is not enlarged until it blurs
    this.scale = null; // CSS px per picture px; null: fitted
    this.middle = [0.5, 0.5]; // the point of the picture at the middle of the stage
    this.pointers = new Map();
    new ResizeObserver(() => this.lay()).observe(host);
    host.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
    host.addEventListener("pointerdown", (event) => this.onDown(event));
    host.addEventListener("pointermove", (event) => this.onMove(event));
    for (const end of ["pointerup", "pointercancel"]) {
      host.addEventListener(end, (event) => this.onUp(event));
    }
    host.addEventListener("dblclick", (event) => this.toggle(this.place(event)));
  }

  // The same picture at another size, as when it was enlarged, takes the place of this one.
  take(width, height, widest = width) {
    const before = this.size;
    this.size = [width || 1, height || 1];
    this.most = 3 * ((widest || 1) / this.size[0]);
    if (this.scale !== null) this.scale *= before[0] / this.size[0];
    this.lay();
  }

  // ---- zoom ----

  fit() {
    this.scale = null;
    this.middle = [0.5, 0.5];
    this.lay();
  }

  toggle(at) {
    if (this.scale !== null) this.fit();
    else this.zoomTo(1 / devicePixelRatio, at);
  }

  step(direction) {
    const stops = STOPS.map((stop) => stop / devicePixelRatio);
    const now = this.now() * (direction > 0 ? 1.01 : 0.99);
    const to = direction > 0 ? stops.find((stop) => stop > now) : stops.findLast((stop) => stop < now);
    if (to === undefined) return;
    if (direction < 0 && to < this.fitted()) this.fit();
    else this.zoomTo(to);
  }

  // ``at``: the point of the stage that stays where it is, px from its middle.
  zoomTo(scale, at = [0, 0]) {
    const now = this.now(), most = STOPS.at(-1) / devicePixelRatio;
    const to = Math.min(most, Math.max(Math.min(this.fitted(), 1), scale));
    this.middle = this.middle.map((m, i) => m + (at[i] / this.size[i]) * (1 / now - 1 / to));
    this.scale = to;
    this.lay();
  }

  now() {
    return this.scale ?? this.fitted();
  }

  fitted() {
    const [width, height] = this.room();
    return Math.min(width / this.size[0], height / this.size[1], this.most);
  }

  room() {
    const margin = this.host.clientWidth < 640 ? 0 : 96;
    return [Math.max(1, this.host.clientWidth - margin), Math.max(1, this.host.clientHeight - margin)];
  }

  // ---- where things lie ----

  lay() {
    const scale = this.now(), stage = [this.host.clientWidth, this.host.clientHeight];
    const box = this.size.map((side) => side * scale);
    const corner = box.map((side, i) => this.held(i, side, stage[i]));
    Object.assign(this.frame.style, {
      width: `${box[0]}px`,
      height: `${box[1]}px`,
      transform: `translate(${corner[0]}px, ${corner[1]}px)`,
    });
    this.host.classList.toggle("zoomed", this.scale !== null);
    this.frame.classList.toggle("pixels", scale * devicePixelRatio >= 2 && this.scale !== null);
    // The divider lives on the part of the picture that is seen, so it is never lost off stage.
    const left = Math.max(0, corner[0]), right = Math.min(stage[0], corner[0] + box[0]);
    const x = left + (right - left) * this.split;
    this.seen = [left, right];
    this.host.style.setProperty("--divider", `${x}px`);
    this.frame.style.setProperty("--cut", `${Math.max(0, corner[0] + box[0] - x)}px`);
    for (const [name, i] of [["--left", 0], ["--top", 1]]) {
      this.host.style.setProperty(name, `${Math.max(0, corner[i])}px`);
    }
    this.host.style.setProperty("--right", `${Math.max(0, stage[0] - corner[0] - box[0])}px`);
    this.onChange(this.scale === null ? "Fit" : `${Math.round(scale * devicePixelRatio * 100)} %`);
  }

  // A picture larger than the stage covers it; a smaller one stands in its middle.
  held(i, side, stage) {
    if (side <= stage) this.middle[i] = 0.5;
    else this.middle[i] = Math.min(1 - stage / side / 2, Math.max(stage / side / 2, this.middle[i]));
    return stage / 2 - this.middle[i] * side;
  }

  place(event) {
    const box = this.host.getBoundingClientRect();
    return [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
  }

  // ---- hands ----

  onWheel(event) {
    event.preventDefault();
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002));
    const to = this.now() * factor;
    if (to <= this.fitted()) this.fit();
    else this.zoomTo(to, this.place(event));
  }

  // While pointing, a finger drawn across the picture points and does not turn.
  setPointing(pointing) {
    this.pointing = pointing;
    this.host.classList.toggle("pointing", pointing);
  }

  pointAt(event) {
    const box = this.frame.getBoundingClientRect();
    const shares = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (shares.every((share) => share >= 0 && share < 1)) this.onPoint(...shares);
  }

  onDown(event) {
    if (event.button > 0) return;
    if (this.pointing) this.pointAt(event);
    this.host.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.place(event));
    const onDivider = event.target.closest(".divider");
    this.from = event.clientX;
    this.dragging = this.comparing && (onDivider || this.scale === null) ? "divider" : "picture";
    if (this.dragging === "divider") this.slide(event);
  }

  onMove(event) {
    if (this.pointing) this.pointAt(event);
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.place(event);
    if (this.pointers.size === 2) this.pinch(event.pointerId, now);
    else if (this.dragging === "divider") this.slide(event);
    else this.pan(now[0] - before[0], now[1] - before[1]);
    this.pointers.set(event.pointerId, now);
  }

  // A finger drawn across a fitted picture turns to the next one.
  onUp(event) {
    const alone = this.pointers.size === 1 && this.pointers.delete(event.pointerId);
    this.pointers.delete(event.pointerId);
    const far = event.clientX - this.from;
    const swiped = alone && event.type === "pointerup" && event.pointerType === "touch";
    if (swiped && !this.pointing && this.scale === null && this.dragging === "picture" && Math.abs(far) > 60) {
      this.onSwipe(far < 0 ? 1 : -1);
    }
  }

  pinch(id, now) {
    const [other] = [...this.pointers].filter(([key]) => key !== id).map(([, at]) => at);
    const before = this.pointers.get(id);
    const factor = Math.hypot(now[0] - other[0], now[1] - other[1]) /
      Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1]));
    this.zoomTo(this.now() * factor, [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2]);
  }

  pan(x, y) {
    if (this.scale === null) return;
    const scale = this.now();
    this.middle = [this.middle[0] - x / this.size[0] / scale, this.middle[1] - y / this.size[1] / scale];
    this.lay();
  }

  slide(event) {
    const x = event.clientX - this.host.getBoundingClientRect().left;
    this.splitAt((x - this.seen[0]) / Math.max(1, this.seen[1] - this.seen[0]));
  }

  splitAt(share) {
    this.split = Math.min(1, Math.max(0, share));
    const range = part("split"), percent = Math.round(this.split * 100);
    range.value = percent;
    range.setAttribute("aria-valuetext", `${percent} % photo`);
    this.lay();
  }
}
