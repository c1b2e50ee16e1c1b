"""What a measurement's command writes into a page: between its two markers, and plots beside the page."""
import re

from servers import ROOT

DOCS = ROOT / "docs"


def put(page, command, text):
    """Replaces what lies between `<!-- COMMAND: begin -->` and `<!-- COMMAND: end -->`."""
    marked = re.compile(rf"(<!-- {re.escape(command)}: begin -->\n).*?(<!-- {re.escape(command)}: end -->\n)", re.S)
    before = page.read_text()
    if len(marked.findall(before)) != 1:
        raise ValueError(f"{page} has no place for what `{command}` measures")
    page.write_text(marked.sub(lambda place: place[1] + text.rstrip("\n") + "\n" + place[2], before))


def draw(page, name, title, svg):
    """In the directory beside the page that has its name; the line that shows it."""
    directory = page.with_suffix("").with_name(page.stem.lower())
    directory.mkdir(exist_ok=True)
    (directory / f"{name}.svg").write_text(svg)
    return f"![{title}]({directory.name}/{name}.svg)"
