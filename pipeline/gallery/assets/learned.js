// Where in its paintings each place of a picture learned: point at one, see the other.

const maps = new Map(); // name of the map's script -> its data

class LearnedView {
  constructor(stage) {
    this.sliders = [part("point-across"), part("point-down")];
    this.figures = [];
    stage.onPoint = (across, down) => this.data && this.point(this.cellAt([across, down]));
    for (const slider of this.sliders) {
      slider.addEventListener("input", () => this.point(this.sliders.map((each) => Number(each.value))));
      slider.addEventListener("keydown", (event) => this.onKey(event));
    }
  }

  async show(name) {
    if (name === this.name) return;
    this.hide();
    this.name = name;
    try {
      if (!maps.has(name)) await load(`pictures/${name}`);
    } catch { /* said below */ }
    if (this.name !== name) return; // another picture meanwhile
    part("learned").hidden = false;
    if (maps.has(name)) this.take(maps.get(name));
    else part("learned-words").textContent = "The map of this picture is no longer in the folder .gallery.";
  }

  // A slider that is still disabled cannot have the focus: then once the map is there.
  focus() {
    this.wantsFocus = !this.data;
    if (this.data) this.sliders[0].focus();
  }

  hide() {
    this.wantsFocus = false;
    this.name = this.data = null;
    part("learned").hidden = part("cell").hidden = true;
    part("learned-paintings").replaceChildren();
    for (const slider of this.sliders) slider.disabled = true;
  }

  take(data) {
    this.data = data;
    this.figures = data.paintings.map((painting) => this.figure(painting));
    part("learned-paintings").replaceChildren(...this.figures.map(({ host }) => host));
    const sides = [data.columns, data.rows];
    this.sliders.forEach((slider, i) => Object.assign(slider, { max: sides[i] - 1, disabled: false }));
    this.point(sides.map((side) => Math.floor(side / 2)));
    if (this.wantsFocus) this.focus();
  }

  figure({ name, picture }) {
    const image = element("img", { alt: `The painting ${visible(name)}`, draggable: "false" });
    const marks = ["reach", "spot"].map((kind) => element("b", { class: kind, hidden: "" }));
    const box = element("div", { class: "painting" }, image, ...marks);
    image.onload = () => this.point(this.cell); // the ring's size follows from the picture's shape
    image.onerror = () => (box.hidden = true); // its name stays
    image.src = COPIES + picture;
    const host = element("figure", {}, box, element("figcaption", { class: "quiet" }, visible(name)));
    return { host, image, marks };
  }

  cellAt(shares) {
    const sides = [this.data.columns, this.data.rows];
    return shares.map((share, i) => Math.min(sides[i] - 1, Math.max(0, Math.floor(share * sides[i]))));
  }

  // ``cell``: column and row.
  point(cell) {
    if (!this.data || !cell) return;
    const { columns, rows, paintings } = this.data, [column, row] = (this.cell = cell);
    const box = { left: column / columns, top: row / rows, width: 1 / columns, height: 1 / rows };
    for (const [side, share] of Object.entries(box)) part("cell").style[side] = `${share * 100}%`;
    part("cell").hidden = false;
    const at = 3 * (row * columns + column), said = [];
    paintings.forEach(({ name, places }, i) => {
      const [x, y, reach] = places.slice(at, at + 3);
      this.mark(this.figures[i], x, y, reach);
      if (x >= 0) said.push(`${Math.round(x / 10)} % across and ${Math.round(y / 10)} % down ${visible(name)}`);
    });
    this.say(said.join("; "));
  }

  mark({ image, marks }, x, y, reach) {
    const [ring, spot] = marks, { naturalWidth: width, naturalHeight: height } = image;
    for (const mark of marks) Object.assign(mark.style, { left: `${x / 10}%`, top: `${y / 10}%` });
    spot.hidden = x < 0;
    ring.hidden = x < 0 || !width;
    ring.style.width = `${(reach / 5) * (Math.max(width, height) / (width || 1))}%`;
  }

  say(where) {
    const sides = [this.data.columns, this.data.rows];
    part("learned-words").textContent = where
      ? "Point at the picture, or press L and the arrow keys. Half of what a place learned is within the ring."
      : "This part learned from paintings of its own.";
    this.sliders.forEach((slider, i) => {
      const percent = Math.round(((this.cell[i] + 0.5) / sides[i]) * 100);
      const here = `${percent} % ${i ? "down" : "across"} the picture`;
      slider.value = this.cell[i];
      slider.setAttribute("aria-valuetext", where ? `${here}: learned from ${where}` : `${here}: from paintings of its own`);
    });
  }

  // All four arrows move in the plane, whichever of the two sliders has the focus.
  onKey(event) {
    const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const step = steps[event.key];
    if (!step || !this.data || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    const sides = [this.data.columns, this.data.rows];
    this.point(this.cell.map((place, i) => Math.min(sides[i] - 1, Math.max(0, place + step[i]))));
  }
}
