"""Reports of runs: what a page says, that it needs nothing else, and how a browser shows it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from potluck import api
from potluck.assets import model_path
from potluck.comparison import page as formats_page
from potluck.comparison.rows import Row
from potluck.evaluation.metrics import Estimate, Score
from potluck.isa.errors import DataError
from potluck.pages.charts import Span, si, stacked_bars, timeline
from potluck.pages.document import check_suffix
from potluck.pages.run import page, write_page

CHROMIUM = shutil.which("chromium")
VOID = {"meta", "br", "hr", "img", "input", "link"}


class Reader(HTMLParser):
    """Checks that tags close, and keeps what a page says and refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.references: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        self.references += [str(held[name]) for name in ("href", "src", "action", "data") if name in held]
        self.ids += [str(held["id"])] if "id" in held else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    return dict(json.loads(json.dumps(api.run(model_path(), scheme="mxfp8").to_json())))


def _whole(text: str) -> Reader:
    reader = Reader(text)
    assert all(reference.startswith("#") for reference in reader.references), "a page loads nothing"
    assert {reference[1:] for reference in reader.references} <= set(reader.ids)
    assert not re.search(r"url\(|@import|https?://", text)
    return reader


def test_the_page_says_what_the_json_says(run: dict[str, Any]) -> None:
    words = " ".join(_whole(page(run, ["potluck", "run", "a b.onnx"])).words)
    for layer in run["layers"]:
        assert layer["name"] in words and f"{layer['cycles']:,}" in words
    for name, value in (*run["stalls"].items(), *(("", run[key]) for key in ("cycles", "instructions"))):
        assert not value or (name in words and (f"{value:,}" in words or si(value) in words))
    assert "resnet8_fashion.onnx, mxfp8 on spatz-mx" in words
    assert "potluck run 'a b.onnx'" in words and run["manifest"]["model_sha256"] in words
    assert run["timing_error_band"] in words


def test_bars_and_dots_are_what_they_stand_for(run: dict[str, Any]) -> None:
    """Widths of a bar's parts are in the ratio of their values; a layer below its roof is drawn below it."""
    drawn = stacked_bars([("a", {"x": 3.0, "y": 1.0}), ("b", {"x": 1.0})], "cycles", "what")
    widths = [float(width) for width in re.findall(r'width="([\d.]+)" height="14', drawn)]
    assert widths[0] == pytest.approx(3 * widths[1], rel=1e-3) and widths[1] == pytest.approx(widths[2])
    text = page(run)
    roof = min(float(y) for y in re.findall(r"L[\d.]+ ([\d.]+)H", text))
    dots = [float(y) for y in re.findall(r'<circle cx="[\d.]+" cy="([\d.]+)"[^>]*><title>', text)]
    assert len(dots) == sum(layer["macs"] > 0 for layer in run["layers"]) and min(dots) > roof


def test_the_memory_plan_is_the_manifests(run: dict[str, Any]) -> None:
    """What is set aside is at least what is live; the page has both, and the largest buffers."""
    held = run["manifest"]["memory"]
    words = " ".join(_whole(page(run)).words)
    assert held["l1_peak"] >= held["l1_live"] > 0 and held["dram_activations"] >= held["dram_live"] > 0
    for key in ("l1_peak", "l1_live", "dram_activations", "dram_live", "dram_constants"):
        assert f"{held[key]:,}" in words
    sizes = [one["bytes"] for one in run["manifest"]["buffers"]]
    assert sizes == sorted(sizes, reverse=True) and run["manifest"]["buffers"][0]["name"] in words


def test_time_has_every_span_once() -> None:
    """Spans too small to be seen are drawn together, and what is drawn names how many."""
    spans = [Span(f"s{k}", "ab"[k % 2], k, k + 1) for k in range(4000)]
    drawn = timeline(spans, "cycles", "what")
    hints = re.findall(r"<title>(.*?)</title>", drawn)
    counts = [int(found[1]) if (found := re.match(r"(\d+) from", hint)) else 1 for hint in hints]
    assert sum(counts) == 4000 and len(hints) < 1500


def test_a_large_network_stays_below_a_megabyte(run: dict[str, Any]) -> None:
    many = [{**layer, "name": f"/model/layers.{k}/self_attn/{layer['name']}"}
            for k in range(120) for layer in run["layers"]]  # fmt: skip
    text = page({**run, "layers": many, "cycles": 120 * run["cycles"]})
    assert len(many) > 2000 and len(text.encode()) < 1_000_000
    _whole(text)


def test_names_do_not_become_markup(run: dict[str, Any]) -> None:
    name = '<script>alert("&")</script>'
    text = page({**run, "layers": [{**run["layers"][0], "name": name, "op": name}], "machine": name}, [name])
    assert "<script" not in text and " ".join(_whole(text).words).count('alert("&")') >= 3


def test_untimed_runs_and_bad_places(run: dict[str, Any], tmp_path: Path) -> None:
    functional = api.run(model_path(), scheme="mxfp8", mode="functional").to_json()
    assert "without times" in " ".join(_whole(page(functional)).words)
    with pytest.raises(DataError, match=r"'r\.pdf'"):
        check_suffix(tmp_path / "r.pdf")
    with pytest.raises(DataError, match="cannot write"):
        write_page(run, tmp_path / "none" / "r.html")
    assert not list(tmp_path.iterdir())


def _row(name: str, right: float, size: int, **other: Any) -> Row:
    part = Estimate(right, right - 0.04, right + 0.02)
    score = Score("accuracy", right, 100, accuracy=part, agreement=part, difference=part, sqnr=20.0)
    return Row(name, "PTQ", score, {"conv<1>": 12.5, "head": 30.0}, size, 8.0, 8, 8, (), other.get("cycles"), 1e-6, 1,
               "vmxdotp.wf", other.get("note", ""), "onnxruntime", other.get("pareto", False))  # fmt: skip


def test_formats_as_a_page(tmp_path: Path) -> None:
    """Accuracy with its interval, size, cycles and the weakest layer of each format, and what was left out."""
    rows = [_row("fp32", 0.91, 4096, cycles=2000), _row("mx & co", 0.88, 1024, note="too <big>", pareto=True)]
    made = _whole(formats_page.page(rows, {"int2": "no <sums>"}, "Formats of m"))
    said = " ".join(made.words)
    for part in (
        "88.0",
        "[84.0, 90.0]",
        "mx & co",
        "too <big>",
        "no <sums>",
        "4.0x",
        "conv<1>",
        "12.5",
        "2,000",
    ):
        assert part in said, part
    written = formats_page.write_page(rows, {}, tmp_path / "f.html", "Formats")
    assert "no <sums>" not in " ".join(_whole(written.read_text()).words)
    with pytest.raises(DataError, match="is a page"):
        formats_page.write_page(rows, {}, tmp_path / "f.pdf", "Formats")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [400, 1400])
def test_in_a_browser(run: dict[str, Any], tmp_path: Path, width: int) -> None:
    """Nothing sticks out sideways, wide things scroll by keyboard, and no script or error is there."""
    probe = """<script>const wide = [...document.querySelectorAll('.scroll')];
    document.title = JSON.stringify({width: innerWidth, page: document.documentElement.scrollWidth,
      reach: wide.filter(x => x.tabIndex === 0).length, wide: wide.length,
      text: Math.min(...[...document.querySelectorAll('p, td, th')].map(
        x => parseFloat(getComputedStyle(x).fontSize))),
      names: document.querySelectorAll('svg[aria-label]').length,
      svg: document.querySelectorAll('svg').length})</script>"""
    file = tmp_path / "p.html"
    file.write_text(page(run).replace("</body>", probe + "</body>"))
    frame = tmp_path / "f.html"  # headless windows have a least width; frames have not
    frame.write_text(f"""<iframe src="p.html" width="{width}" height="800"
      onload="document.title = this.contentDocument.title"></iframe>""")
    command = [
        str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files",
        f"--user-data-dir={tmp_path}/profile", "--virtual-time-budget=5000", "--dump-dom", f"file://{frame}",
    ]  # fmt: skip
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r"<title>(\{.*?\})</title>", dom)
    assert found, dom[:500]
    seen = json.loads(found[1])
    assert seen["width"] == width and seen["page"] <= seen["width"]
    assert seen["reach"] == seen["wide"] > 5 and seen["names"] == seen["svg"] == 5 and seen["text"] >= 12
