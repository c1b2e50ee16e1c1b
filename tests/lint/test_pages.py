"""Pages that are written from a table are not older than it."""
import pathlib
import runpy
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_the_reference_page_is_not_older_than_the_table_of_settings():
    written = subprocess.run([ROOT / "packaging" / "settings-man"], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "outrigger.yaml.5").read_text() == written, "run: packaging/settings-man > docs/outrigger.yaml.5"


def test_the_reference_configuration_is_not_older_than_the_table_of_settings():
    written = subprocess.run([ROOT / "packaging" / "reference-conf"], capture_output=True, text=True, check=True).stdout
    assert (ROOT / "conf" / "reference.yaml").read_text() == written, "run: packaging/reference-conf > conf/reference.yaml"


def test_every_setting_has_its_entry():
    rows = (ROOT / "proxy" / "config" / "settings.tbl").read_text().count("\nSETTING(") + (
        ROOT / "proxy" / "config" / "settings.tbl"
    ).read_text().count("\nSECTION(")
    assert (ROOT / "docs" / "outrigger.yaml.5").read_text().count("\n.It ") == rows


def test_the_table_of_reasons_is_not_older_than_the_code():
    page = ROOT / "docs" / "CACHING.md"
    before = page.read_text()
    script = runpy.run_path(str(ROOT / "packaging" / "reasons"), run_name="reasons")
    assert before == script["page_with_reasons"](), "run: packaging/reasons"
