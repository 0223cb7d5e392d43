// The wall: pictures in rows of equal height; only rows near the visible part exist in the page.

const GAP = 24, CAPTION = 56, WIDEST = 3, NARROWEST = 0.4;

class Wall {
  constructor(host, onOpen) {
    this.host = host;
    this.onOpen = onOpen;
    this.bands = []; // headings and rows, from top to bottom: {top, height, make}
    this.order = []; // pictures in reading order: {entry, band, left, width}
    this.alive = new Map(); // band number -> its element
    this.current = 0; // the picture that Tab comes to
    addEventListener("scroll", () => this.ask(), { passive: true });
    new ResizeObserver(() => this.resized()).observe(host);
    host.addEventListener("keydown", (event) => this.onKey(event));
    host.addEventListener("focusin", (event) => {
      const tile = event.target.closest(".tile");
      if (tile) this.choose(Number(tile.dataset.number));
    });
  }

  show(groups, enhanced) {
    [this.groups, this.enhanced] = [groups, enhanced];
    this.current = 0;
    this.hang();
  }

  // ---- layout ----

  resized() {
    if (this.groups && this.host.clientWidth !== this.width) this.hang();
  }

  hang() {
    this.width = this.host.clientWidth;
    this.height = this.width < 640 ? 190 : this.width < 1100 ? 270 : 340;
    this.gap = this.width < 640 ? 12 : GAP;
    this.bands = [];
    this.order = [];
    this.bottom = 0;
    for (const group of this.groups) this.hangGroup(group);
    this.host.style.height = `${this.bottom}px`;
    for (const made of this.alive.values()) made.remove();
    this.alive.clear();
    this.draw();
  }

  hangGroup(group) {
    if (group.title) this.band(this.width < 640 ? 84 : 116, () => headingOf(group));
    const tiles = group.photo ? [{ photo: group.photo }, ...group.entries.map((entry) => ({ entry }))]
      : group.entries.map((entry) => ({ entry }));
    let row = [], across = 0, height = this.height;
    for (const tile of tiles) {
      tile.ratio = ratioOf(tile.entry || tile.photo.like, this.enhanced);
      row.push(tile);
      across += tile.ratio;
      const room = this.width - this.gap * (row.length - 1);
      if (across * this.height >= room) {
        height = room / across;
        this.row(row, height);
        [row, across] = [[], 0];
      }
    }
    // The last row is not stretched to fill the wall; it is as high as the one before.
    const room = this.width - this.gap * (row.length - 1);
    if (row.length) this.row(row, Math.min(height, this.height, room / across));
    this.bottom += group.title ? 24 : 0;
  }

  row(tiles, height) {
    const band = this.bands.length;
    let left = 0;
    for (const tile of tiles) {
      tile.left = left;
      tile.width = tile.ratio * height;
      left += tile.width + this.gap;
      if (tile.entry) {
        tile.number = this.order.length;
        this.order.push({ entry: tile.entry, band, left: tile.left, width: tile.width });
      }
    }
    this.band(height + CAPTION, () => this.rowElement(tiles, height));
  }

  band(height, make) {
    this.bands.push({ top: this.bottom, height, make });
    this.bottom += height;
  }

  // ---- what exists ----

  ask() {
    this.asked ||= requestAnimationFrame(() => {
      this.asked = 0;
      this.draw();
    });
  }

  draw() {
    if (this.host.hidden) return;
    const above = this.host.getBoundingClientRect().top, near = innerHeight * 0.75;
    const first = this.at(-above - near), last = this.at(-above + innerHeight + near);
    const held = this.order[this.current]?.band; // the row with the keyboard focus is kept
    const focused = this.host.contains(document.activeElement);
    for (const [number, made] of this.alive) {
      if ((number < first || number > last) && !(focused && number === held)) {
        made.remove();
        this.alive.delete(number);
      }
    }
    for (let number = first; number <= last; number++) this.bring(number);
    if (held !== undefined && !focused) this.mark();
  }

  bring(number) {
    const band = this.bands[number];
    if (!band || this.alive.has(number)) return;
    const made = band.make();
    made.style.top = `${band.top}px`;
    made.style.height = `${band.height}px`;
    // Reading order is document order, for those who do not see where things hang.
    const after = [...this.alive.keys()].filter((other) => other > number).sort((a, b) => a - b)[0];
    this.host.insertBefore(made, this.alive.get(after) || null);
    this.alive.set(number, made);
  }

  // The last band that begins above this height.
  at(height) {
    let low = 0, high = this.bands.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.bands[middle].top <= height) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  rowElement(tiles, height) {
    const row = element("div", { class: "row" });
    for (const tile of tiles) {
      const hung = tile.entry ? this.tile(tile) : photoTile(tile.photo);
      hung.style.left = `${tile.left}px`;
      hung.style.width = `${tile.width}px`;
      hung.querySelector("img").style.height = `${height}px`;
      row.append(hung);
    }
    return row;
  }

  tile({ entry, number }) {
    const link = element("a", {
      class: "tile",
      href: `#${entry.key}`,
      tabindex: number === this.current ? 0 : -1,
      "data-number": number,
      "aria-label": `${visible(entry.content)} as ${words(entry.style)}`,
    });
    const shown = shownPicture(entry, this.enhanced);
    const byStyle = this.groups[0]?.by === "style", alone = this.groups[0]?.by === "none";
    const title = byStyle || alone ? visible(baseName(entry.content)) : words(entry.style);
    const caption = element("span", { class: "caption", dir: "auto" }, element("span", {}, title));
    if (alone) caption.append(element("span", { class: "quiet" }, words(entry.style)));
    if (entry.draft) caption.append(element("span", { class: "quiet" }, "draft"));
    link.append(picture(smallUrl(shown), viewUrl(shown)), caption);
    return link;
  }

  // ---- keyboard: one stop for Tab, arrows between pictures ----

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const to = this.destination(event.key);
    if (to === undefined) return;
    event.preventDefault();
    this.focus(Math.max(0, Math.min(this.order.length - 1, to)));
  }

  destination(key) {
    switch (key) {
      case "ArrowLeft": return this.current - 1;
      case "ArrowRight": return this.current + 1;
      case "ArrowUp": return this.beside(-1);
      case "ArrowDown": return this.beside(1);
      case "Home": return 0;
      case "End": return this.order.length - 1;
    }
  }

  // The picture in the next row up or down that is nearest.
  beside(step) {
    const here = this.order[this.current], middle = here.left + here.width / 2;
    let number = this.current;
    while (this.order[number]?.band === here.band) number += step;
    const band = this.order[number]?.band;
    let best = this.current, least = Infinity;
    for (; band !== undefined && this.order[number]?.band === band; number += step) {
      const there = this.order[number], far = Math.abs(there.left + there.width / 2 - middle);
      if (far < least) [best, least] = [number, far];
    }
    return best;
  }

  focus(number) {
    const hung = this.order[number];
    if (!hung) return;
    this.choose(number);
    const band = this.bands[hung.band], top = this.host.offsetTop + band.top - scrollY;
    const bar = 96; // what sticks to the top of the window
    if (top < bar) scrollBy(0, top - bar);
    else if (top + band.height > innerHeight) scrollBy(0, top + band.height - innerHeight + GAP);
    this.bring(hung.band);
    this.link(number)?.focus({ preventScroll: true });
    this.draw();
  }

  choose(number) {
    this.current = number;
    this.mark();
  }

  mark() {
    for (const link of this.host.querySelectorAll(".tile")) {
      link.tabIndex = Number(link.dataset.number) === this.current ? 0 : -1;
    }
  }

  link(number) {
    return this.host.querySelector(`.tile[data-number="${number}"]`);
  }
}

function headingOf(group) {
  const title = element("h2", { dir: "auto" }, group.title);
  return element("div", { class: "title" }, title, element("p", { class: "quiet", dir: "auto" }, group.note));
}

function photoTile(photo) {
  const made = element("figure", { class: "photo" });
  const shown = picture(COPIES + photo.like.photo);
  shown.alt = `The photo ${visible(photo.like.content)}`;
  made.append(shown, element("figcaption", { class: "caption quiet" }, "Photo"));
  return made;
}

// ``spare``: in place of a small copy that went with the picture it showed.
function picture(url, spare = url) {
  const made = element("img", { alt: "", decoding: "async", loading: "lazy", draggable: "false" });
  made.addEventListener("load", () => made.classList.add("here"), { once: true });
  made.addEventListener("error", () => {
    if (made.getAttribute("src") !== spare) made.src = spare;
    else made.classList.add("missing");
  });
  made.src = url;
  return made;
}

function ratioOf(entry, enhanced) {
  const { width, height } = shownPicture(entry, enhanced);
  return Math.min(WIDEST, Math.max(NARROWEST, width / height || 1));
}
