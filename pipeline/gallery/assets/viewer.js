// One picture, large: compare, enhance, zoom, and all that is known about it.

const calm = matchMedia("(prefers-reduced-motion: reduce)");

class Viewer {
  constructor(dialog, onClose) {
    this.dialog = dialog;
    this.mode = "picture";
    this.enhanced = true;
    this.stage = new Stage(part("stage"), (label) => (part("zoom-fit").textContent = label));
    this.stage.onSwipe = (step) => this.turn(step);
    this.learned = new LearnedView(this.stage);
    dialog.addEventListener("close", onClose);
    dialog.addEventListener("close", () => this.play(""));
    // On the whole page: what had the focus may just have been hidden.
    addEventListener("keydown", (event) => dialog.open && this.onKey(event));
    const on = (id, type, act) => part(id).addEventListener(type, act);
    on("close", "click", () => dialog.close());
    on("previous", "click", () => this.turn(-1));
    on("next", "click", () => this.turn(1));
    on("zoom-in", "click", () => this.stage.step(1));
    on("zoom-out", "click", () => this.stage.step(-1));
    on("zoom-fit", "click", () => this.stage.toggle());
    on("split", "input", (event) => this.stage.splitAt(event.target.value / 100));
    on("mode", "change", (event) => this.setMode(event.target.value));
    on("v-enhanced", "change", (event) => this.setEnhanced(event.target.checked));
    on("play", "click", () => this.setPlaying(!this.playing));
    on("copy", "click", () => this.copy());
  }

  // ``entries``: what previous and next go through; ``troubles``: newest failure by pair.
  open(entries, number, troubles, enhanced) {
    Object.assign(this, { entries, troubles, enhanced });
    if (!this.dialog.open) {
      this.mode = "picture";
      this.dialog.showModal();
    }
    this.show(number);
  }

  show(number) {
    this.number = number;
    this.entry = this.entries[number];
    if (!this.has(this.mode)) this.mode = "picture";
    part("previous").disabled = number === 0;
    part("next").disabled = number === this.entries.length - 1;
    part("v-enhanced").checked = this.enhanced;
    part("v-enhanced-field").hidden = this.entry.pictures.length < 2;
    for (const input of part("mode").querySelectorAll("input")) {
      input.parentElement.hidden = !this.has(input.value);
      input.checked = input.value === this.mode;
    }
    part("mode").hidden = !["photo", "timelapse", "learned"].some((mode) => this.has(mode));
    part("stage").setAttribute("data-picture", this.entry.key);
    describe(this.entry, this.entries.length, number, this.troubles);
    this.setShown();
    this.setMode(this.mode);
    this.stage.fit();
  }

  turn(step) {
    const to = this.number + step;
    if (to < 0 || to >= this.entries.length) return;
    location.replace(`#${this.entries[to].key}`);
    const { content, style } = this.entries[to];
    announce(`${to + 1} of ${this.entries.length}: ${visible(content)} as ${words(style)}`);
  }

  has(mode) {
    if (mode === "timelapse") return Boolean(this.entry.timelapse);
    if (mode === "learned") return Boolean(this.entry.map);
    return mode === "picture" || Boolean(this.entry.before);
  }

  setMode(mode) {
    if (!this.has(mode)) return;
    this.mode = mode;
    part("mode").querySelector(`[value="${mode}"]`).checked = true;
    const comparing = mode === "compare";
    this.stage.comparing = comparing;
    for (const id of ["divider", "tag-before", "tag-after"]) part(id).hidden = !comparing;
    part("split").disabled = !comparing;
    part("before").hidden = !comparing && mode !== "photo";
    part("frame").classList.toggle("comparing", comparing);
    if (!part("before").hidden) setSource(part("before"), COPIES + this.entry.before);
    if (comparing) this.stage.splitAt(this.stage.split);
    this.stage.setPointing(mode === "learned");
    if (mode === "learned") this.learned.show(this.entry.map);
    else this.learned.hide();
    part("before").alt = `The photo ${visible(this.entry.content)}`;
    this.setPlaying(!calm.matches);
  }

  // By key: the arrows then move the divider, until Escape or C.
  compare() {
    this.setMode(this.mode === "compare" ? "picture" : "compare");
    (this.mode === "compare" ? part("split") : this.dialog).focus();
  }

  // The same for the place that is pointed at: a second time, it ends.
  showLearned() {
    if (!this.has("learned")) return;
    const ends = this.mode === "learned" && document.activeElement.matches(".point");
    this.setMode(ends ? "picture" : "learned");
    if (ends) this.dialog.focus();
    else this.learned.focus();
  }

  // A timelapse begins by itself, unless its user wants no motion: then a button starts it.
  setPlaying(playing) {
    this.playing = playing;
    part("play").hidden = this.mode !== "timelapse" || this.entry.timelapse.endsWith(".mp4") || !calm.matches;
    part("play").textContent = playing ? "Stop" : "Play";
    this.setPicture();
  }

  setEnhanced(enhanced) {
    this.enhanced = enhanced;
    part("v-enhanced").checked = enhanced;
    this.setShown();
    this.setPicture();
  }

  // Both kinds lie on the same stage, the enhanced one perhaps of more pixels: switching moves
  // nothing.
  setShown() {
    this.shown = shownPicture(this.entry, this.enhanced);
    const widest = Math.max(...this.entry.pictures.map((picture) => picture.width));
    this.stage.take(this.shown.width, this.shown.height, widest);
  }

  setPicture() {
    const picture = part("picture"), film = this.mode === "timelapse";
    const video = film && this.entry.timelapse.endsWith(".mp4"), moving = film && this.playing;
    part("gone").hidden = true;
    picture.alt = moving ? "The picture as it was painted"
      : `${visible(this.entry.content)} as ${words(this.entry.style)}${this.enhanced ? ", enhanced" : ""}`;
    // The small copy stands there until the picture has come.
    part("frame").style.backgroundImage = this.shown.small ? `url("${COPIES}${this.shown.small}")` : "";
    // A transparent picture must not show its copy through.
    picture.onload = () => (part("frame").style.backgroundImage = "");
    picture.onerror = () => {
      part("gone").textContent = "This picture is no longer in the outbox.";
      part("gone").hidden = false;
      picture.hidden = true; // its copy stays to be seen
    };
    setSource(picture, moving && !video ? this.entry.timelapse : viewUrl(this.shown));
    picture.hidden = video;
    this.play(video ? this.entry.timelapse : "");
  }

  play(url) {
    const film = part("film");
    film.hidden = !url;
    if (url) {
      setSource(film, url);
      if (!calm.matches) film.play().catch(() => {}); // then by hand: it has its buttons
    } else if (film.hasAttribute("src")) {
      film.removeAttribute("src");
      film.load();
    }
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const acts = {
      ArrowLeft: () => this.turn(-1),
      ArrowRight: () => this.turn(1),
      c: () => this.compare(),
      p: () => this.setMode(this.mode === "photo" ? "picture" : "photo"),
      t: () => this.setMode(this.mode === "timelapse" ? "picture" : "timelapse"),
      l: () => this.showLearned(),
      e: () => this.entry.pictures.length > 1 && this.setEnhanced(!this.enhanced),
      z: () => this.stage.toggle(),
      "+": () => this.stage.step(1),
      "=": () => this.stage.step(1),
      "-": () => this.stage.step(-1),
    };
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    const takesArrows = event.target.matches?.("input[type=range], input[type=radio], pre, .about");
    if (!act || (event.key.startsWith("Arrow") && takesArrows)) return;
    event.preventDefault();
    act();
  }

  async copy() {
    const done = await copyText(part("v-recipe").textContent, part("copy"));
    part("copy").textContent = done ? "Copied" : "Select and copy by hand";
    announce(part("copy").textContent);
    setTimeout(() => (part("copy").textContent = "Copy"), 2000);
  }
}

// For screen readers. Within the dialog: what lies outside is not read while it is open.
function announce(text) {
  part("v-status").textContent = text;
}

function setSource(image, url) {
  if (image.getAttribute("src") !== url) image.setAttribute("src", url);
}

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = element("textarea", { class: "sr" });
    button.closest("dialog").append(area); // within the dialog: what lies outside cannot be focused
    area.value = text;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    button.focus();
    return done;
  }
}

// ---- what is known about a picture ----------------------------------------------------------

function describe(entry, all, number, troubles) {
  part("v-title").textContent = words(entry.style) + (entry.draft ? " (draft)" : "");
  part("v-photo").textContent = visible(entry.content);
  part("v-place").textContent = `${(number + 1).toLocaleString("en")} of ${all.toLocaleString("en")}`;
  const trouble = troubles.get(pairOf(entry)) || troubles.get(pairOf({ content: entry.content, style: "" }));
  part("v-trouble").hidden = !trouble || trouble.status !== "failed";
  part("v-trouble").textContent = trouble ? `A later attempt failed: ${visible(trouble.message)}` : "";
  part("v-facts").replaceChildren(...facts(entry));
  part("v-recipe").textContent = recipeText(entry);
  part("v-files").replaceChildren(...files(entry));
  const losses = lossParts(entry);
  part("v-losses").hidden = !losses.length;
  part("v-losses").querySelector("div").replaceChildren(...losses);
}

function* facts(entry) {
  const sizes = new Set(entry.pictures.map(({ width, height }) => `${width} × ${height}`));
  const rows = [
    ["Size", `${[...sizes].join(", enhanced ")} px`],
    ["Painted", when(entry.ts)],
    ["Took", duration(entry.seconds) + (entry.device ? ` on ${visible(entry.device)}` : "")],
    ["Attempt", entry.attempt > 1 ? String(entry.attempt) : ""],
  ];
  for (const [name, value] of rows) {
    if (value) yield element("div", {}, element("dt", {}, name), element("dd", {}, value));
  }
}

function* files(entry) {
  const names = { stylized: "Stylized", enhanced: "Enhanced" };
  for (const { kind, url, bytes } of entry.pictures) yield file(names[kind], url, bytes);
  for (const { step, url, bytes } of entry.stills || []) yield file(`Step ${step}`, url, bytes);
  if (entry.timelapse) yield file("Timelapse", entry.timelapse, entry.timelapse_bytes);
}

function file(name, url, bytes) {
  const size = bytes >= 1e6 ? `${(bytes / 1e6).toFixed(1)} MB` : `${Math.ceil(bytes / 1e3)} kB`;
  const link = element("a", { href: url, target: "_blank", rel: "noopener" }, name);
  const kind = url.split(".").pop().toUpperCase();
  return element("li", {}, link, element("span", { class: "quiet" }, `${kind}, ${size}`));
}

function lossParts(entry) {
  const parts = entry.curve?.length > 1 ? [plot(entry.curve)] : [];
  const last = Object.entries(entry.losses || {}).filter(([, value]) => typeof value === "number");
  if (last.length) {
    const cells = last.map(([name, value]) =>
      element("div", {}, element("dt", {}, name === "tv" ? "TV" : words(name)), element("dd", {}, figure(value))));
    parts.push(element("dl", { class: "losses" }, ...cells));
  }
  return parts;
}

// Total loss over steps, on a logarithmic axis: the last steps matter, and are small. Each scale
// has a line of its own: what is summed is measured again there.
function plot(curve) {
  const [width, height, edge] = [320, 96, 3];
  const steps = curve.map(([step]) => step), losses = curve.map(([, loss]) => Math.log(Math.max(loss, 1e-12)));
  const [low, high] = [Math.min(...losses), Math.max(...losses)];
  const x = (step) => edge + ((step - steps[0]) / (steps.at(-1) - steps[0] || 1)) * (width - 2 * edge);
  const y = (loss) => edge + ((high - loss) / (high - low || 1)) * (height - 2 * edge);
  const points = curve.map(([step, , scale], i) => ({ scale, x: x(step).toFixed(1), y: y(losses[i]).toFixed(1) }));
  const scales = [...Map.groupBy(points, (point) => point.scale).values()];
  const [first, last] = [curve[0], curve.at(-1)];
  const caption = `From ${figure(first[1])} to ${figure(last[1])} in ${count(last[0], "step", "steps")}`
    + (scales.length > 1 ? ` at ${scales.length} scales` : "");
  const svg = svgElement("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": caption });
  for (const scale of scales) {
    const line = scale.map((point, i) => `${i ? "L" : "M"}${point.x} ${point.y}`).join("") + "h0.01";
    svg.append(
      svgElement("path", { class: "area", d: `${line}V${height}H${scale[0].x}Z` }),
      svgElement("path", { class: "curve", d: line }),
    );
    if (scale !== scales[0]) svg.append(svgElement("path", { class: "border", d: `M${scale[0].x} 0V${height}` }));
  }
  svg.append(svgElement("circle", { cx: x(last[0]), cy: y(losses.at(-1)), r: 2.5 }));
  return element("figure", { class: "plot" }, svg, element("figcaption", { class: "quiet" }, caption));
}

function svgElement(name, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}
