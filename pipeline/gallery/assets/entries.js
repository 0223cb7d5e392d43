// What the run log says, folded: the newest picture of each pair, the newest trouble of each.

const chunks = new Map(); // number -> entries, in the order of the run log

function fold() {
  const pictures = new Map(), troubles = new Map(), places = new Map();
  for (const number of [...chunks.keys()].sort((a, b) => a - b)) {
    for (const entry of chunks.get(number)) foldEntry(entry, pictures, troubles, places);
  }
  return { pictures: [...pictures.values()], troubles: [...troubles.values()] };
}

function foldEntry(entry, pictures, troubles, places) {
  const pair = pairOf(entry);
  troubles.delete(pair);
  if (entry.pruned) { // removed, because no rule wants it any more
    for (const place of placesOf(entry)) pictures.delete(place);
  } else if (entry.status === "done") {
    const photo = JSON.stringify([entry.content, entry.style, entry.sha]);
    const place = placeOf(entry);
    pictures.delete(place); // so that a new picture comes last, as in the log
    const before = pictures.get(places.get(photo));
    if (before && before.sha === entry.sha) pictures.delete(places.get(photo)); // under another name
    pictures.set(place, entry);
    places.set(photo, place);
    troubles.delete(pairOf({ content: entry.content, style: "" })); // the file itself was repaired
  } else {
    troubles.set(pair, entry);
  }
}

const pairOf = (entry) => JSON.stringify([entry.content, entry.style]);
// Photos that had the same name one after the other have pictures under different names.
const placesOf = ({ content, style, pictures }) =>
  pictures.map((picture) => JSON.stringify([content, style, stemOf(picture.url)]));
const placeOf = (entry) => placesOf(entry)[0];
const stemOf = (url) => url.replace(/\.[^./]*$/, "");

// ---- words ----------------------------------------------------------------------------------

// Names are data: what would be invisible, or turn the line around, is written out.
const HIDDEN = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
const BYTES = /[\udc80-\udcff]/gu; // bytes of a name that is no UTF-8, as the log writes them
const LONE = /\p{Cs}/gu;

function visible(text) {
  const hex = (sign) => sign.codePointAt(0).toString(16);
  return String(text)
    .replace(BYTES, (sign) => "\\x" + hex(sign).slice(2))
    .replace(LONE, "\ufffd")
    .replace(HIDDEN, (sign) => "\\u" + hex(sign).padStart(4, "0"));
}

const baseName = (path) => path.slice(path.lastIndexOf("/") + 1);
const folderOf = (path) => path.slice(0, Math.max(0, path.lastIndexOf("/")));
const words = (name) => visible(name).replace(/_/g, " ");
const count = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

function when(ts) {
  const at = new Date(ts);
  if (isNaN(at)) return visible(ts);
  return at.toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" });
}

function duration(seconds) {
  if (seconds < 60) return `${Number(seconds.toFixed(1))} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(seconds % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const figure = (number) => Number(Number(number).toPrecision(3)).toLocaleString("en");

// ---- recipe ---------------------------------------------------------------------------------

// Lines that config.yaml takes as they are; what it would say by silence is left out.
function recipeText(entry) {
  const head = `# ${visible(entry.content)} as ${visible(entry.style)}, recipe ${visible(entry.recipe)}`;
  return [head, ...yaml(entry.options || {}, "")].join("\n");
}

function* yaml(mapping, indent) {
  for (const [key, value] of Object.entries(mapping)) {
    if (value === null) continue;
    const name = /^[A-Za-z_][\w-]*$/.test(key) ? key : JSON.stringify(key);
    if (typeof value === "object" && !Array.isArray(value)) {
      if (!Object.keys(value).length) continue;
      yield `${indent}${name}:`;
      yield* yaml(value, indent + "  ");
    } else {
      yield `${indent}${name}: ${scalar(value)}`;
    }
  }
}

// Every JSON value is YAML; a plain word is quieter without its quotes.
const PLAIN = /^(?!(?:true|false|yes|no|on|off|null|y|n)$)[A-Za-z_][\w.-]*$/i;
const scalar = (value) =>
  typeof value === "string" && PLAIN.test(value) ? value : JSON.stringify(value).replace(/,/g, ", ");

// ---- the page's parts -----------------------------------------------------------------------

const part = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const COPIES = "./.gallery/pictures/";

// The picture of an entry that is wanted: the enhanced one, or the plain one where there is no other.
function shownPicture(entry, enhanced) {
  const kind = enhanced ? "enhanced" : "stylized";
  return entry.pictures.find((picture) => picture.kind === kind) || entry.pictures[0];
}

// What no browser shows (TIFF, HEIC) is shown as a copy; the file itself is a link.
const viewUrl = (picture) => (picture.view ? COPIES + picture.view : picture.url);
const smallUrl = (picture) => (picture.small ? COPIES + picture.small : viewUrl(picture));
