"""The packages of `pipeline/` and their imports, as the code has them: a tree, a table, a picture.

`make docs` writes the results into docs/development/packages.md; a test compares the imports with
its own table (tests/project/test_package_imports.py). Imports count wherever they stand: late ones,
and those for types only.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "pipeline"
Graph = dict[str, set[str]]


@cache
def modules() -> dict[str, Path]:
    """Every module of the program by its dotted name; packages by their ``__init__.py``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


@cache
def imported_names(path: Path) -> set[str]:
    """What a file imports, dotted, with the imported name where it is one of a module."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@cache
def module_graph() -> Graph:
    """Which module of the program imports which."""
    graph: Graph = {}
    for name, path in modules().items():
        found = set()
        for imported in imported_names(path):
            if imported.split(".")[0] == "pipeline":
                found.add(imported if imported in modules() else imported.rpartition(".")[0])
        graph[name] = found - {name}
    return graph


def package_of(module: str) -> str:
    """The package that a module stands in; the module itself where it stands on top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "pipeline"


def package_graph() -> Graph:
    """Which package imports which; ``errors`` and the version in ``pipeline`` are left out."""
    graph: Graph = {}
    for module, imported in module_graph().items():
        here = package_of(module)
        if here not in ("pipeline", "errors", "__main__"):
            others = {package_of(each) for each in imported} - {
                here,
                "errors",
                "pipeline",
                "__main__",
            }
            graph.setdefault(here, set()).update(others)
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Groups of nodes that import each other (strongly connected components; Tarjan 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        order[node] = low[node] = len(order)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in order:
                visit(other)
            if other in stack:
                low[node] = min(low[node], low[other])
        if low[node] == order[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node not in order:
            visit(node)
    return found


def levels(graph: Graph) -> dict[str, int]:
    """How high each node stands: 0 without imports, else one above the highest that it imports.

    Raises:
        ValueError: When nodes import each other, and so have no height.
    """
    if circle := circles(graph):
        raise ValueError(f"a circle of imports: {circle[0]}")

    @cache
    def height(node: str) -> int:
        return max((height(other) + 1 for other in graph.get(node, ())), default=0)

    return {node: height(node) for node in graph}


# --- as text --------------------------------------------------------------------------------


def first_line(path: Path) -> str:
    """The first sentence of a file's docstring, on one line."""
    text = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(text.partition("\n\n")[0].split())


def tree() -> str:
    """Every package with its modules, highest package first, each with its first line."""
    height = levels(package_graph())
    tops = sorted(height, key=lambda name: (-height[name], name))
    lines = ["```text", *(line for name in tops for line in _branch(PACKAGE / name, ""))]
    return "\n".join([*lines, *_branch(PACKAGE / "errors.py", ""), "```"])


def _branch(path: Path, indent: str) -> list[str]:
    if path.is_file():
        return [f"{indent + path.name:26}{first_line(path)}".rstrip()]
    if not (path / "__init__.py").exists():
        return []
    head = f"{indent + path.name + '/':26}{first_line(path / '__init__.py')}".rstrip()
    inner = sorted(p for p in path.iterdir() if p.suffix == ".py" and p.stem[:2] != "__")
    folders = sorted(p for p in path.iterdir() if p.is_dir())
    return [head, *(line for p in (*inner, *folders) for line in _branch(p, indent + "  "))]


def table() -> str:
    """The allowed imports, which are those that there are."""
    rows = ["| package | imports |", "|---|---|"]
    graph = package_graph()
    height = levels(graph)
    for name in sorted(graph, key=lambda name: (height[name], name)):
        rows.append(f"| `{name}` | {', '.join(sorted(graph[name])) or '-'} |")
    return "\n".join(rows)


# --- as a picture ---------------------------------------------------------------------------

_WIDE, _HIGH, _GAP_X, _GAP_Y, _EDGE = 112, 30, 26, 44, 20


def picture() -> str:
    """An SVG: a box for each package on its level; arrows only where no longer way leads."""
    graph = package_graph()
    height = levels(graph)
    rows = [sorted(n for n in graph if height[n] == k) for k in range(max(height.values()), -1, -1)]
    widest = max(map(len, rows))
    width = 2 * _EDGE + widest * _WIDE + (widest - 1) * _GAP_X
    place = {}
    for y, row in enumerate(rows):
        left = (width - len(row) * _WIDE - (len(row) - 1) * _GAP_X) / 2
        for x, name in enumerate(row):
            place[name] = (left + x * (_WIDE + _GAP_X), _EDGE + y * (_HIGH + _GAP_Y))
    full = 2 * _EDGE + len(rows) * _HIGH + (len(rows) - 1) * _GAP_Y
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {full}" role="img" '
        f'font-family="sans-serif" font-size="14"><title>Packages and their imports</title>',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{width}" height="{full}" fill="#fff"/>',
    ]
    for name, other in _shortest(graph):
        (x1, y1), (x2, y2) = place[name], place[other]
        start, end = (x1 + _WIDE / 2, y1 + _HIGH), (x2 + _WIDE / 2, y2)
        bend = (end[1] - start[1]) / 2
        parts.append(
            f'<path d="M{start[0]:.0f} {start[1]:.0f}C{start[0]:.0f} {start[1] + bend:.0f} '
            f'{end[0]:.0f} {end[1] - bend:.0f} {end[0]:.0f} {end[1]:.0f}" fill="none" '
            'stroke="#667" stroke-width="1.2" marker-end="url(#tip)"/>'
        )
    for name, (x, y) in place.items():
        parts.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{_WIDE}" height="{_HIGH}" rx="5" '
            'fill="#eef3f8" stroke="#456"/>'
            f'<text x="{x + _WIDE / 2:.0f}" y="{y + 20:.0f}" text-anchor="middle">{name}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _shortest(graph: Graph) -> Iterator[tuple[str, str]]:
    """The arrows that no chain of others makes superfluous (the transitive reduction)."""

    @cache
    def below(node: str) -> frozenset[str]:
        return frozenset().union(*({n} | below(n) for n in graph.get(node, ())))

    for name in sorted(graph):
        for other in sorted(graph[name]):
            if not any(other in below(between) for between in graph[name] - {other}):
                yield name, other
