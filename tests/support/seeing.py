"""What is wrong for people who use a page differently: read from the page as the browser shows it.

Each function returns a list of what it found, as text that names the element; it is empty when all
is well. The contrast is computed as WCAG 2.2 defines it, from computed styles.
"""

from playwright.sync_api import Page

# ``seen``: shown to everybody; ``name``: how a message calls an element.
COMMON = """
  const root = document.querySelector('dialog[open]') || document.body;
  const seen = part => part.checkVisibility({ visibilityProperty: true, opacityProperty: false });
  const name = part => part.outerHTML.replace(part.innerHTML, '').slice(0, 120)
    + part.textContent.trim().slice(0, 30);
"""

IMAGES = """
  return [...root.querySelectorAll('img, video, canvas, svg')].filter(seen).filter(part => {
    if (part.closest('[aria-hidden=true]')) return false;
    const label = part.getAttribute('alt') || part.getAttribute('aria-label') || '';
    // An image within a link or button that has a name is part of that name.
    const named = part.closest('a, button')?.getAttribute('aria-label');
    return (label || named || '').trim().length < 5;
  }).map(name);
"""

HEADINGS = """
  let before = document.querySelector('dialog[open]') ? 1 : 0;
  const wrong = [];
  for (const part of root.querySelectorAll('h1, h2, h3, h4')) {
    if (!seen(part)) continue;
    const level = Number(part.tagName[1]);
    if (level > before + 1 || !part.textContent.trim()) wrong.push(name(part));
    before = level;
  }
  return wrong;
"""

CONTRAST = """
  const probe = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = colour => {
    probe.clearRect(0, 0, 1, 1);
    probe.fillStyle = colour;
    probe.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = probe.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, below) => top.slice(0, 3).map((v, i) => v * top[3] + below[i] * (1 - top[3]));
  const light = rgb => rgb.map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const ground = part => {
    const layers = [];
    for (let at = part; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const opacity = part => {
    let all = 1;
    for (let at = part; at; at = at.parentElement) all *= Number(getComputedStyle(at).opacity);
    return all;
  };
  const wrong = [];
  const check = (part, colour) => {
    const below = ground(part), ink = rgba(colour);
    ink[3] *= opacity(part);
    const found = ratio(over(ink, below), below);
    if (found < 4.5) wrong.push(`${found.toFixed(2)} ${name(part)}`);
  };
  for (const part of root.querySelectorAll('*')) {
    if (!seen(part) || part.closest('.sr, noscript, :disabled')) continue;
    const said = [...part.childNodes].some(child => child.nodeType === 3 && child.data.trim());
    const value = part.matches('input[type=search], select');
    if (said || value) check(part, getComputedStyle(part).color);
    if (part.placeholder) check(part, getComputedStyle(part, '::placeholder').color);
  }
  return wrong;
"""

OVERFLOW = """
  const wide = document.documentElement.clientWidth, wrong = [];
  const scroller = document.querySelector('dialog[open]') || document.documentElement;
  if (scroller.scrollWidth > wide) wrong.push(`scrolls to ${scroller.scrollWidth} px`);
  for (const part of root.querySelectorAll('a, button, input, select, h1, h2, h3, p, li, dd')) {
    const box = part.getBoundingClientRect();
    if (!seen(part) || part.closest('.sr, .skip, .choice')) continue;
    if (box.width && (box.left < -1 || box.right > wide + 1)) wrong.push(name(part));
  }
  return wrong;
"""

MOTION = """
  const moving = document.getAnimations().filter(each => each.playState === 'running');
  const films = [...document.querySelectorAll('video')].filter(film => seen(film) && !film.paused);
  const pictures = [...document.querySelectorAll('img')].filter(seen)
    .filter(image => /timelapse/.test(image.getAttribute('src')));
  const styled = [...document.querySelectorAll('*')].filter(part => ['', '::before', '::after']
    .some(pseudo => getComputedStyle(part, pseudo).transitionProperty !== 'none'));
  return [...moving.map(String), ...[...films, ...pictures, ...styled].map(name)];
"""

FOCUS_RING = """
  const part = document.activeElement;
  if (!part || part === document.body) return null;
  // A switch or choice is drawn by its label; a mark on the picture stands for its slider.
  const mark = part.id === 'split' ? '.divider b' : part.matches('.point') && '.cell';
  const rings = [part, part.closest('label'), mark && root.querySelector(mark)];
  const ringed = rings.filter(Boolean).some(ring => {
    const style = getComputedStyle(ring);
    return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2
      && ring.checkVisibility() && !ring.matches('.sr');
  });
  part.dataset.stop ||= String(document.querySelectorAll('[data-stop]').length + 1);
  return { stop: part.dataset.stop, inside: root.contains(part), ringed, name: name(part) };
"""


def _find(page: Page, script: str) -> list[str]:
    # A script may be run between a change and its layout, which is not seen: after two frames.
    page.evaluate("() => new Promise(drawn => requestAnimationFrame(drawn))")
    page.evaluate("() => new Promise(drawn => requestAnimationFrame(drawn))")
    return page.evaluate(f"() => {{ {COMMON} {script} }}")


def images_without_text(page: Page) -> list[str]:
    """Images, films and drawings that say nothing to a screen reader."""
    return _find(page, IMAGES)


def nameless_controls(page: Page) -> list[str]:
    """Controls that the accessibility tree of the browser has without a name."""
    session = page.context.new_cdp_session(page)
    nodes = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    roles = {"button", "link", "textbox", "searchbox", "combobox", "checkbox", "switch", "radio",
             "slider", "progressbar", "dialog", "img", "image", "group", "radiogroup", "toolbar",
             "region"}  # fmt: skip
    return [
        node["role"]["value"]
        for node in nodes
        if not node["ignored"]
        and node["role"]["value"] in roles
        and not node.get("name", {}).get("value", "").strip()
    ]


def misplaced_headings(page: Page) -> list[str]:
    """Headings that leave out a level, or are empty."""
    return _find(page, HEADINGS)


def faint_text(page: Page) -> list[str]:
    """Text, placeholders and values whose contrast with what is behind them is below 4.5:1."""
    return _find(page, CONTRAST)


def cut_off(page: Page) -> list[str]:
    """What makes the page scroll sideways, or stands outside the window."""
    return _find(page, OVERFLOW)


def moving_parts(page: Page) -> list[str]:
    """Transitions, animations, and timelapses that play."""
    return _find(page, MOTION)


def walk_by_tab(page: Page, limit: int = 60) -> tuple[list[str], list[str]]:
    """Press Tab around the page: the stops, and those that are outside or without a ring."""
    stops: dict[str, str] = {}
    wrong: list[str] = []
    for _ in range(limit):
        page.keyboard.press("Tab")
        found = page.evaluate(f"() => {{ {COMMON} {FOCUS_RING} }}")
        if found is None:  # the browser's own buttons come between the last stop and the first
            continue
        if found["stop"] in stops:
            break
        stops[found["stop"]] = found["name"]
        if not (found["inside"] and found["ringed"]):
            wrong.append(found["name"])
    return list(stops.values()), wrong
