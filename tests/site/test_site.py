"""What the published site tells search engines, and those to whom somebody sends a link."""

import re
from xml.etree import ElementTree

import pytest

from tests.site.conftest import PAGES, ROOT, SITE, Visit
from tools.imports import toc_files

HOME = "https://ml-odyssey.github.io/ml-odyssey/"


def meta(text: str, name: str) -> list[str]:
    return re.findall(rf'<meta (?:property|name)="{name}" content="([^"]*)"', text)


def test_the_site_map_lists_every_page() -> None:
    space = "{http://www.sitemaps.org/schemas/sitemap/0.9}"
    found = {loc.text for loc in ElementTree.parse(SITE / "sitemap.xml").iter(f"{space}loc")}
    wanted = {f"{HOME}{page}.html" for page in toc_files(ROOT)}
    assert len(wanted) > 20 and wanted <= found


@pytest.mark.parametrize("page", toc_files(ROOT))
def test_a_link_to_a_page_has_a_card(page: str) -> None:
    text = (SITE / f"{page}.html").read_text(encoding="utf-8")
    assert meta(text, "og:url") == [f"{HOME}{page}.html"] == re.findall(r'<link rel="canonical" href="([^"]*)"', text)
    assert all(meta(text, f"og:{name}")[0] for name in ("title", "site_name", "image", "image:alt"))
    assert len(meta(text, "description")[0]) > 40
    picture = meta(text, "og:image")[0].removeprefix(HOME)
    assert (SITE / picture).is_file()
    assert (SITE / "_static" / "favicon.svg").is_file() and "favicon.svg" in text


def test_a_wrong_address_leads_on(desk: Visit) -> None:
    text = (SITE / "404.html").read_text(encoding="utf-8")
    used = re.findall(r'<(?:a|link|script|img)\b[^>]*?(?:href|src)="([^"#]*)[^"]*"', text)
    ours = [path for path in used if path and not re.match(r"[a-z]+:", path)]
    assert len(ours) > 30 and all(path.startswith("/ml-odyssey/") for path in ours)
    missing = [p for p in ours if not (SITE / re.sub(r"\?.*", "", p).removeprefix("/ml-odyssey/")).exists()]
    assert missing == []
    page = desk.open("404.html")
    assert page.locator("h1", has_text="Page not found").count() == 1


def test_every_link_inside_the_site_leads_somewhere() -> None:
    broken = []
    for name in PAGES:
        if name == "404.html":
            continue
        text = (SITE / name).read_text(encoding="utf-8")
        for path in set(re.findall(r'<(?:a|link|script|img)\b[^>]*?(?:href|src)="([^"#?]+)', text)):
            if not re.match(r"[a-z]+:", path) and not (SITE / name).parent.joinpath(path).exists():
                broken.append(f"{name}: {path}")
    assert broken == []
