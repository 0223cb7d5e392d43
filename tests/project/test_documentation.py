"""The documentation says what the program does: what can drift apart is compared here."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
import typer
from support import ROOT
from typer.testing import CliRunner

from pipeline.cli import main as cli
from pipeline.config.enhancement import ORDER, Enhance
from pipeline.config.file_kinds import PHOTO_TITLES, PHOTOS, WRITTEN
from pipeline.config.loading import load_config
from pipeline.config.output import SUFFIXES
from pipeline.config.transfer import Transfer
from pipeline.jobs.job import Job, JobResult, Output
from pipeline.jobs.recipe import Recipe
from pipeline.outbox.run_log import run_log_line

PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]


def read(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize(
    "name", ["docs/config.md", "docs/commands.md", "docs/development/packages.md"]
)
def test_generated_parts_are_what_the_program_says(make_docs, name):
    assert "<!-- begin " in read(name)
    assert make_docs.rendered(read(name)) == read(name), "out of date: run `make docs`"


def test_the_generator_would_notice_a_drift(make_docs):
    wrong = "<!-- begin presets -->\nold\n<!-- end presets -->"
    assert "draft" in make_docs.rendered(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name):
    for target in re.findall(r"\]\(([^)#\s]+)", read(name)):
        if not target.startswith(("http:", "https:")):
            assert (ROOT / name).parent.joinpath(target).exists(), target


def test_the_readme_is_read_in_five_minutes():
    assert len(read("README.md").split()) <= 900


def test_the_index_leads_to_every_page():
    index = set(re.findall(r"\]\(([\w./-]+\.md)\)", read("docs/README.md")))
    pages = {str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")}
    assert pages - index == {"README.md"}


def sources() -> list[Path]:
    """Every file that may name another one: pages, programs, and what builds and ships them."""
    found = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "Makefile", ROOT / "pyproject.toml"]
    for folder in ("pipeline", "tests", "scripts", "benchmarks"):
        found += (ROOT / folder).rglob("*.py")
    return found


def paths_named(text: str) -> list[str]:
    """Paths of this repository's programs and pages, as docs, docstrings and comments name them."""
    folders = "pipeline|tests|scripts|benchmarks|docs"
    return re.findall(rf"(?<![\w./-])((?:{folders})/[\w./-]*\.(?:py|md))\b", text)


def test_every_file_of_the_repository_that_a_page_or_a_comment_names_exists():
    found = {(path, named) for path in sources() for named in paths_named(path.read_text())}
    assert len(found) > 80
    missing = [f"{path.name}: {named}" for path, named in found if not (ROOT / named).exists()]
    assert sorted(missing) == []
    gone = "docs/" + "a/gone.md"
    assert paths_named(f"see `{gone}`, x/{gone}.") == [gone]


def test_every_module_that_the_pages_for_developers_name_in_short_exists():
    """`inbox/scanner.py` stands for the same below pipeline/."""
    found = set()
    for page in (ROOT / "docs" / "development").glob("*.md"):
        names = re.findall(r"`((?:\w+/)*\w+\.py)`", page.read_text())
        found |= {(page.name, name) for name in names}
    assert len(found) > 50
    either = (ROOT, ROOT / "pipeline", ROOT / "pipeline" / "monitoring" / "terminal")
    missing = {each for each in found if not any((way / each[1]).exists() for way in either)}
    assert missing == set()


def dotted_names(text: str) -> list[str]:
    """Modules, and what stands in them, as docstrings and pages name them: `pipeline.errors`."""
    return re.findall(r"`{1,2}(pipeline(?:\.(?!jsonl)\w+)+)`", text)


def exists(dotted: str) -> bool:
    """Whether a module has the name, or has something of that name in it; nothing is imported."""
    path = ROOT.joinpath(*dotted.split("."))
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    package = path.parent / "__init__.py"
    module = package if package.exists() else path.parent.with_suffix(".py")
    name = path.name
    return module.exists() and re.search(rf"\b{name}\b", module.read_text()) is not None


def test_every_module_that_a_page_or_a_docstring_names_exists():
    found = {(path, named) for path in sources() for named in dotted_names(path.read_text())}
    assert len(found) > 3
    assert sorted(f"{path.name}: {named}" for path, named in found if not exists(named)) == []
    assert not exists("pipeline.nst.gone")
    assert not exists("pipeline.errors.Gone")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/development/packages.md"])
def test_every_name_that_a_page_for_developers_places_in_a_module_stands_there(page):
    """As in: `candidate_names` in `outbox/names.py`, with or without `pipeline/`."""
    placed = r"`(?:\w+\.)?(\w+)`\s+(?:in|of)\s+`(?:pipeline/)?((?:\w+/)+\w+\.py)`"
    found = re.findall(placed, read(page))
    assert len(found) > 8
    folders = ("", "pipeline/", "pipeline/monitoring/")
    missing = []
    for name, path in found:
        places = [ROOT / folder / path for folder in folders if (ROOT / folder / path).exists()]
        missing += [(name, path)] * (not places or name not in places[0].read_text())
    assert missing == []


def table_after(name: str, heading: str) -> list[str]:
    """The first cells of the table below a heading of a page, without the table's head."""
    part = read(name).split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    rows = re.findall(r"^\|([^|]*)\|", part, re.MULTILINE)
    return [cell.strip() for cell in rows][2:]


def test_every_enhancement_step_is_described_and_in_the_usual_order():
    assert table_after("docs/enhancement.md", "## Steps") == [f"`{name}`" for name in ORDER]


def test_every_enhancement_step_was_measured():
    """`python -m benchmarks enhancement` measures; see *Add an enhancement step*."""
    measured = re.findall(
        r"^\| step (\w+), strength 1 \|", read("docs/performance.md"), re.MULTILINE
    )
    assert measured == list(ORDER)
    (_, table) = read("docs/enhancement.md").split("## Measurements\n")
    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == list(ORDER)


def test_every_output_format_is_described_with_its_suffix():
    page = read("docs/files.md")
    assert table_after("docs/files.md", "## Out") == [f"`{name}`" for name in WRITTEN]
    assert [name for name in WRITTEN if f"| `{name}` | {SUFFIXES[name][0]} |" not in page] == []


def test_the_example_of_output_formats_names_those_that_there_are():
    page = read("docs/files.md")
    formats = re.search(r"format: jpeg +# (\w+) \(default\), (.*)", page)
    lossy = re.search(r"quality: 95 +# of (.*)", page)
    assert formats is not None
    assert lossy is not None
    assert ", ".join(formats.groups()) == ", ".join(WRITTEN)
    assert lossy[1] == ", ".join(name for name, how in WRITTEN.items() if how.quality is not None)


def test_every_kind_of_photo_is_named_where_the_pages_say_which_are_taken():
    files = re.search(r"Photos may be ([^()]*) with the extra", read("docs/files.md"))
    code = re.search(r"those of a ([^;]*);", read("docs/reasons.md"))
    assert files is not None
    assert code is not None
    for sentence in (files[1], code[1]):
        assert [title for title in PHOTO_TITLES if title not in sentence] == []


def test_every_suffix_of_a_photo_is_listed():
    assert [suffix for suffix in sorted(PHOTOS) if suffix not in read("docs/files.md")] == []


# Words of no engineer, and what to write instead; the glossary has the words for things.
QUAINT = {
    "anew": "again",
    "strangers?'?s?": "untrusted",
    "seldomer": "less often",
    "told": "reported, configured",
    "hear[ds]?": "receive, notice",
}


def quaint_words(text: str) -> list[str]:
    """Words that a page should not have. Generated parts are the program's own."""
    prose = re.sub(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", "", text, flags=re.DOTALL)
    return re.findall(rf"\b(?:{'|'.join(QUAINT)})\b", prose, re.IGNORECASE)


@pytest.mark.parametrize("name", [*NAMES, "CHANGELOG.md"])
def test_pages_are_in_plain_english(name):
    assert quaint_words(read(name)) == []


def test_a_quaint_word_would_be_noticed():
    assert quaint_words("A stranger's file is made anew.") == ["stranger's", "anew"]


def blocks(name: str, language: str) -> list[str]:
    """Code blocks of a page, as their reader would copy them."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", read(name), re.MULTILINE | re.DOTALL)
    return [re.sub(f"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


CONFIGS = [(name, block) for name in NAMES for block in blocks(name, "yaml")]


@pytest.mark.parametrize(("name", "text"), CONFIGS)
def test_check_finds_every_config_shown_good(name, text, tmp_path, monkeypatch):
    """With the paintings that it names; a part of a config stands beside some style."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for painting in re.findall(r"[\w/]+\.jpg", text):
        (tmp_path / painting).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / "inbox" / "coffee.jpg", tmp_path / painting)
    (tmp_path / "inbox").mkdir()
    if "styles:" not in text:
        text += 'styles: {mosaic: {image: "builtin:mosaic"}}\n'
    (tmp_path / "config.yaml").write_text(text)
    said = CliRunner().invoke(cli.app, ["check", "--config", str(tmp_path / "config.yaml")])
    assert said.exit_code == 0, said.exception
    assert "config.yaml: ok" in said.output


def test_there_are_configs_to_try():
    assert {name for name, _ in CONFIGS} >= {"README.md", "docs/config.md", "docs/bulk.md"}


def test_a_wrong_config_shown_would_be_noticed(tmp_path):
    (tmp_path / "config.yaml").write_text('styles: {a: {image: "builtin:mosaic"}}\nsever: {}\n')
    said = CliRunner().invoke(cli.app, ["check", "--config", str(tmp_path / "config.yaml")])
    assert "serve" in str(said.exception)


def test_the_config_that_ships_is_a_good_one_and_names_both_its_styles():
    from pipeline.config.manifest import load_manifest

    manifest = load_manifest(load_config(ROOT / "config.yaml"))
    assert len(manifest.styles_for("coffee.jpg")) == 2


def parsed(line: str) -> None:
    """The words after ``pipeline``, read by the program's own parser; nothing is done."""
    words = shlex.split(re.split(r"[>|&]", line)[0], comments=True)
    command = typer.main.get_command(cli.app).commands[words[0]]
    command.make_context(words[0], words[1:])


@pytest.mark.parametrize("name", NAMES)
def test_every_command_shown_is_understood(name):
    """In blocks, tables and sentences: command, arguments, flags and their values."""
    for line in re.findall(r"(?:^|`)pipeline ([a-z][^`\n|]*)", read(name), re.MULTILINE):
        if "[OPTIONS]" not in line and "--help" not in line:  # the parser's own words
            parsed(line)


def mentioned(text: str) -> list[str]:
    """Commands in short, as sentences and messages name them: `retry FILE`, `pipeline accept`."""
    known = "|".join(typer.main.get_command(cli.app).commands)
    return re.findall(rf"`(?:pipeline (?=[a-z])|(?=(?:{known}) ))([a-z][^`{{]*)`", text)


def understood(line: str) -> bool:
    """A mention may leave things out; it may not name what does not exist."""
    try:
        parsed(line)
    except KeyError:
        return False
    except typer.exceptions.TyperException as error:
        return type(error).__name__ in ("MissingParameter", "BadOptionUsage")
    return True


@pytest.mark.slow
def test_every_command_that_docs_and_messages_name_is_understood():
    files = [*PAGES, *(ROOT / "pipeline").rglob("*.py")]
    found = {line: path.name for path in files for line in mentioned(path.read_text())}
    found = {line: name for line, name in found.items() if "[OPTIONS]" not in line}  # as above
    assert len(found) > 15
    assert {line: name for line, name in found.items() if not understood(line)} == {}
    assert not any(understood(line) for line in ("retri --all", "run --nope", "run --limit x"))


@pytest.mark.parametrize("line", ["rum", "run --limitt 1", "run --limit many", "stylize a.jpg"])
def test_a_wrong_command_shown_would_be_noticed(line):
    with pytest.raises((KeyError, typer.exceptions.TyperException)):
        parsed(line)


def test_every_make_target_shown_exists():
    targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
    for name in NAMES:
        for shown in re.findall(r"(?:`|^)make ([a-z-]+)(?=`|$| +#)", read(name), re.MULTILINE):
            assert shown in targets, f"{name}: make {shown}"


def fields(table_after: str) -> set[str]:
    """Names in the first column of the first table after a text of docs/run-log.md."""
    rest = read("docs/run-log.md").partition(table_after)[2]
    rows = rest[rest.index("|---") :].split("\n\n")[0]
    return set(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE))


def test_every_field_of_the_run_log_is_explained():
    """For a line made here; tests/end_to_end/test_main_job.py checks every line of a real run."""
    recipe = Recipe((), Transfer(), Enhance(), "embedded", 0)
    job = Job("a.jpg", Path("a.jpg"), "5" * 64, "mosaic", recipe)
    output = Output("stylized", "a--mosaic.png", "5" * 64, 1, 1, 1)
    line = run_log_line(JobResult(job, "done", outputs=(output,)), "run", "now")
    assert fields("| field") == set(json.loads(json.dumps(line)))
    assert fields("Each of `outputs`") == set(line["outputs"][0])


def test_where_the_code_differs_from_the_paper_is_listed_in_the_docs():
    section = read("docs/how-it-works.md").partition("## Where it differs from the papers")[2]
    marked = [
        path
        for path in (ROOT / "pipeline" / "nst").glob("*.py")
        if re.search("not the paper|leaves the paper", path.read_text(), re.IGNORECASE)
    ]
    assert len(marked) >= 3
    for path in marked:
        assert f"`nst/{path.name}`" in section, path.name
    for name in re.findall(r"`((?:\w+/)?\w+\.py)`", section):
        assert (ROOT / "pipeline" / name).exists(), name


def test_every_module_stands_in_the_house():
    house = read("docs/development/packages.md")
    for path in (ROOT / "pipeline").rglob("[a-z]*.py"):
        assert re.search(rf"^ *{path.name} ", house, re.MULTILINE), f"{path.name}: run `make docs`"
