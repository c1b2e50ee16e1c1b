"""What is said of the metrics elsewhere is what the server shows: docs/METRICS.md, the dashboard for Grafana, the rules for alerts."""
import json
import os
import pathlib
import re
import runpy

import pytest
import yaml

from harness.authority import Authority
from harness.http import get
from harness.ports import free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOC = runpy.run_path(str(ROOT / "packaging" / "metrics-doc"))


@pytest.fixture
def shown(make_outrigger, origin, tmp_path):
    """/metrics of a server that has everything there are metrics of."""
    certificate, key = Authority(tmp_path).issue("tls.test")
    site = {"hosts": ["tls.test"], "origin": origin.url, "tls": {"certificate": str(certificate), "key": str(key)}}
    listen = [{"address": f"127.0.0.1:{free_port()}", "tls": True}]
    outrigger = make_outrigger(config={"cache": {"disk": [{"path": str(tmp_path / "store"), "size": "64MiB"}]}, "sites": [site], "listen": listen})
    return get(outrigger.admin_port, "/metrics", host="localhost").body.decode()


def names_in(text):
    """Without what Prometheus makes of a histogram's name."""
    return set(re.findall(r"outrigger_\w+", text))


def test_the_page_is_not_older_than_the_server(shown):
    page = ROOT / "docs" / "METRICS.md"
    if os.environ.get("WRITE_PAGE"):
        page.write_text(DOC["page"](shown))
    assert DOC["page"](shown) == page.read_text(), "run: make metrics-page"


def test_dashboard_and_alerts_name_metrics_that_exist(shown):
    known = names_in(shown)
    dashboard = json.loads((ROOT / "packaging" / "grafana.json").read_text())
    rules = yaml.safe_load((ROOT / "packaging" / "prometheus-alerts.yaml").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    expressions += [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    assert len(expressions) > 30
    for expression in expressions:
        assert names_in(expression) <= known, expression
        for label in re.findall(r'(\w+)=~?"', expression):
            assert label in ("instance", "job") or f'{label}="' in shown or label in ("status", "result"), expression
