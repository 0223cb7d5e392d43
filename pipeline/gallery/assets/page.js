// The page: loads the chunks, handles the controls, and checks for new entries.

const LOOK_SECONDS = 5, MANY = 100; // troubles shown at a time

const page = {
  pictures: [], troubles: [], shown: [], keys: new Map(), troubleOf: new Map(), head: null, waiting: 0,
  closedByAddress: false,
};
const wall = new Wall(part("wall"));
const viewer = new Viewer(part("viewer"), onViewerClosed);

// ---- data -----------------------------------------------------------------------------------

// The data files call these; they are scripts because file:// knows no fetch.
globalThis.gallery = {
  head(head) {
    page.newest = head;
  },
  chunk(number, entries) {
    chunks.set(number, entries.filter((entry) => entry && typeof entry === "object"));
  },
  map(name, data) {
    maps.set(name, data);
  },
};

function load(name) {
  const script = element("script", { src: `./.gallery/${name}?${Date.now()}` });
  return new Promise((loaded, failed) => {
    script.onload = loaded;
    script.onerror = failed;
    document.head.append(script);
  }).finally(() => script.remove());
}

async function loadChunks(from) {
  const names = [];
  for (let n = Math.max(1, from); n <= page.newest.chunks; n++) {
    names.push(`chunk-${String(n).padStart(4, "0")}.js`);
  }
  await Promise.allSettled(names.map(load));
  page.head = page.newest;
  const { pictures, troubles } = fold();
  pictures.forEach((entry, i) => (entry.key = /^[0-9a-f]{12}$/.test(entry.job) ? entry.job : `p${i}`));
  return { pictures, troubles };
}

function take({ pictures, troubles }) {
  Object.assign(page, { pictures, troubles });
  page.troubleOf = new Map(troubles.map((entry) => [pairOf(entry), entry]));
  page.waiting = 0;
  part("news").hidden = true;
  fillControls();
  summarise();
  show();
}

// New pictures are announced, not inserted: the page does not jump while it is being read.
async function look() {
  if (document.hidden || page.lost) return;
  await load("head.js");
  if (page.newest.told === page.head.told && page.newest.chunks === page.head.chunks) return;
  const news = await loadChunks(page.head.chunks);
  page.news = news;
  const fresh = Math.max(0, news.pictures.length - page.pictures.length);
  part("news").textContent = fresh ? `Show ${count(fresh, "new picture", "new pictures")}` : "Show what changed";
  part("news").hidden = false;
  part("status").textContent = part("news").textContent;
}

function keepLooking() {
  const again = () => look().catch(() => (page.lost = true)); // the folder is gone: the page stays as it is
  setInterval(again, LOOK_SECONDS * 1000);
  document.addEventListener("visibilitychange", again);
}

// ---- controls -------------------------------------------------------------------------------

const grouping = () => part("bar").elements.grouping.value;

function fillControls() {
  const styles = [...new Set(page.pictures.map((entry) => entry.style))].sort();
  const folders = [...new Set(page.pictures.map((entry) => folderOf(entry.content)))].sort();
  fill(part("style"), "All styles", styles, words);
  fill(part("folder"), "All folders", folders, (folder) => (folder ? visible(folder) : "Inbox itself"));
  part("style-field").hidden = styles.length < 2;
  part("folder-field").hidden = folders.length < 2;
  part("enhanced-field").hidden = !page.pictures.some((entry) => entry.pictures.length > 1);
  part("troubles-choice").hidden = !page.troubles.length;
  part("troubles-count").textContent = page.troubles.length.toLocaleString("en");
  if (!page.troubles.length && grouping() === "troubles") part("bar").elements.grouping.value = "photo";
}

function fill(select, all, values, shown) {
  const before = select.value;
  const options = values.map((value) => element("option", { value: `=${value}` }, shown(value)));
  select.replaceChildren(element("option", { value: "" }, all), ...options);
  select.value = before;
  if (select.selectedIndex < 0) select.value = "";
}

function summarise() {
  const photos = new Set(page.pictures.map((entry) => entry.content)).size;
  const styles = new Set(page.pictures.map((entry) => entry.style)).size;
  part("summary").textContent = page.pictures.length
    ? `${count(page.pictures.length, "picture", "pictures")} of ${count(photos, "photo", "photos")} in ${count(styles, "style", "styles")}`
    : "";
  document.title = page.pictures.length ? `Gallery · ${count(page.pictures.length, "picture", "pictures")}` : "Gallery";
}

function fitting(entries) {
  const wanted = part("query").value.trim().toLocaleLowerCase().split(/\s+/).filter(Boolean);
  const style = part("style").value, folder = part("folder").value;
  return entries.filter((entry) => {
    if (style && style !== `=${entry.style}`) return false;
    if (folder && folder !== `=${folderOf(entry.content)}`) return false;
    const text = [entry.content, entry.style, entry.style.replace(/_/g, " "), entry.code, entry.message]
      .join(" ").toLocaleLowerCase();
    return wanted.every((word) => text.includes(word));
  });
}

const byName = new Intl.Collator("en", { numeric: true });

function ordered(entries) {
  const order = part("order").value;
  if (order === "new") return entries.toReversed();
  if (order === "old") return entries;
  return entries.toSorted((a, b) => byName.compare(a.content, b.content) || byName.compare(a.style, b.style));
}

// ---- showing --------------------------------------------------------------------------------

function show() {
  const troubled = grouping() === "troubles";
  part("wall").hidden = troubled;
  part("troubles").hidden = !troubled;
  for (const id of ["order-field", "enhanced-field", "style-field", "folder-field"]) {
    part(id).classList.toggle("off", troubled);
  }
  const found = troubled ? showTroubles() : showWall();
  part("status").textContent = troubled ? count(found, "file or pair not painted", "files and pairs not painted")
    : count(found, "picture", "pictures");
  part("empty").hidden = found > 0;
  const nothing = !troubled && !page.pictures.length;
  part("empty").querySelector("p").textContent = nothing
    ? "No pictures yet. Put a photo into the inbox." : "No matches.";
  part("empty").querySelector("button").hidden = nothing;
}

function showWall() {
  const entries = ordered(fitting(page.pictures)), by = grouping();
  const groups = by === "none" ? [{ by, entries }] : [...grouped(entries, by)];
  page.shown = groups.flatMap((group) => group.entries);
  page.keys = new Map(page.shown.map((entry, number) => [entry.key, number]));
  wall.show(groups, part("enhanced").checked);
  return entries.length;
}

function* grouped(entries, by) {
  const key = by === "photo" ? "content" : "style";
  const groups = Map.groupBy(entries, (entry) => entry[key]);
  for (const [name, members] of groups) {
    if (by === "style") {
      yield { by, title: words(name), note: count(members.length, "picture", "pictures"), entries: members };
      continue;
    }
    const folder = folderOf(name), styles = count(members.length, "style", "styles");
    const like = members.find((entry) => entry.photo);
    const note = folder ? `${visible(folder)} · ${styles}` : styles;
    yield { by, title: visible(baseName(name)), note, entries: members, photo: like && { like } };
  }
}

function showTroubles(many = MANY) {
  const entries = fitting(page.troubles).toReversed();
  const failed = entries.filter((entry) => entry.status === "failed");
  const parts = [], left = entries.filter((entry) => entry.status !== "failed");
  for (const [title, group] of [["Failed", failed], ["Skipped", left]]) {
    if (!group.length) continue;
    parts.push(element("h2", {}, title, element("span", { class: "quiet" }, ` ${group.length.toLocaleString("en")}`)));
    const rows = [...reasons(group.slice(0, many))];
    parts.push(...rows);
    if (group.length > many) {
      const more = element("button", { type: "button", class: "plain" }, `Show ${Math.min(MANY, group.length - many)} more`);
      more.addEventListener("click", () => showTroubles(many + MANY));
      parts.push(more);
    }
  }
  part("troubles").replaceChildren(...parts);
  return entries.length;
}

function* reasons(entries) {
  for (const [code, group] of Map.groupBy(entries, (entry) => entry.code)) {
    yield element("h3", {}, words(code || "no reason given"));
    yield element("ul", {}, ...group.map(troubleRow));
  }
}

function troubleRow(entry) {
  const name = element("span", { class: "name", dir: "auto" }, visible(entry.content));
  if (entry.style) name.append(element("span", { class: "quiet" }, ` as ${words(entry.style)}`));
  const time = element("time", { class: "quiet", datetime: entry.ts }, when(entry.ts));
  return element("li", {}, name, element("span", { class: "reason", dir: "auto" }, visible(entry.message)), time);
}

// ---- one picture, named in the address ------------------------------------------------------

function onAddress() {
  const number = page.keys.get(location.hash.slice(1));
  if (number !== undefined) viewer.open(page.shown, number, page.troubleOf, viewer.dialog.open ? viewer.enhanced : part("enhanced").checked);
  else if (viewer.dialog.open) {
    page.closedByAddress = true;
    viewer.dialog.close();
  }
}

// Told some time after the dialog has closed: Forward may have changed the address since.
function onViewerClosed() {
  const { closedByAddress } = page;
  page.closedByAddress = false;
  if (viewer.dialog.open) return; // closed by Back and opened by Forward before this was called
  if (!closedByAddress && location.hash.length > 1) history.replaceState(null, "", location.pathname + location.search);
  if (part("enhanced").checked !== viewer.enhanced && viewer.entry?.pictures.length > 1) {
    part("enhanced").checked = viewer.enhanced;
    wall.show(wall.groups, viewer.enhanced);
  }
  wall.focus(viewer.number);
}

// ---- colours --------------------------------------------------------------------------------

const THEMES = { system: "as in the system settings", light: "light", dark: "dark" };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  part("theme").setAttribute("aria-label", `Colours: ${THEMES[theme]}`);
  part("theme").title = `Colours: ${THEMES[theme]}`;
  remember("gallery-theme", theme);
}

// Some browsers keep nothing for pages opened from a file.
function remember(key, value) {
  try {
    localStorage.setItem(key, value);
  } catch { /* then not */ }
}

function remembered(key) {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

// ---- begin ----------------------------------------------------------------------------------

function listen() {
  part("bar").addEventListener("input", show);
  part("bar").addEventListener("change", () => remember("gallery-grouping", grouping()));
  part("bar").addEventListener("submit", (event) => event.preventDefault());
  part("news").addEventListener("click", () => take(page.news));
  part("theme").addEventListener("click", () => {
    const names = Object.keys(THEMES);
    setTheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
  });
  part("empty").querySelector("button").addEventListener("click", () => {
    for (const id of ["query", "style", "folder"]) part(id).value = "";
    show();
  });
  addEventListener("hashchange", onAddress);
  addEventListener("keydown", (event) => {
    if (event.key !== "/" || viewer.dialog.open || event.target.matches("input[type=search]")) return;
    event.preventDefault();
    part("query").focus();
  });
}

async function begin() {
  const theme = remembered("gallery-theme"), kept = remembered("gallery-grouping");
  setTheme(theme in THEMES ? theme : "system");
  if (["photo", "style", "none"].includes(kept)) part("bar").elements.grouping.value = kept;
  listen();
  try {
    await load("head.js");
    take(await loadChunks(1));
    onAddress();
    keepLooking();
  } catch {
    part("empty").querySelector("p").textContent =
      "The folder .gallery beside this page is missing: keep the two together, or start the program once.";
    part("empty").querySelector("button").hidden = true;
    part("empty").hidden = false;
  }
}

begin();
