import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest
from audit_samples import (
    SMASHED,
    WEIGHTS,
    clients,
    contrast,
    convergence,
    document,
    examples,
    full,
    invalid,
    minimal,
    picture,
    read_texts,
)

from dtfl_private.report.html.environment import printed
from dtfl_private.report.html.page import audit_page
from dtfl_private.report.html.sections import SECTIONS
from dtfl_private.report.words.glossary import GLOSSARY, mentions
from dtfl_private.verdicts.findings import Findings
from dtfl_private.verdicts.selected_results import leakage_metric

pytestmark = pytest.mark.usefixtures("pictures_drawn_once")

VOID = {"meta", "link", "img", "br", "source", "hr", "input"}
# What a browser fetches, runs or submits by itself.
LOADING = {"script", "iframe", "object", "embed", "form", "base", "audio", "video"}
TERMS = r'<dl class="terms".*?</dl>'
GALLERIES = {"tier-2-decoder.png": picture(90), "tier-1-hybrid.png": picture()}
EXAMPLES, PICTURES = examples(1, 4)


class Page(HTMLParser):
    """A page's elements in order with their attributes, its text, and what is wrong in its nesting."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{name}> is never closed" for name in self.open]

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID and self.open[-1:] != ["svg"]:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if self.open[-1:] != [tag]:
            self.wrong.append(f"</{tag}> at {self.getpos()} within {self.open[-3:]}")
        else:
            self.open.pop()

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def having(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name in names]


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    return {
        "full": audit_page(full(examples=EXAMPLES, texts=read_texts(1, 2)), GALLERIES, PICTURES),
        "minimal": audit_page(minimal(), {}, {}),
        "invalid": audit_page(invalid(), GALLERIES, {}),
    }


@pytest.fixture(params=["full", "minimal", "invalid"])
def page(request, texts) -> Page:
    return Page(texts[request.param])


def test_elements_are_nested_as_they_should(page):
    assert page.wrong == []


def test_nothing_comes_from_elsewhere_and_nothing_runs(page):
    assert not {name for name, _ in page.elements} & LOADING
    for name, attributes in page.elements:
        assert not [key for key in attributes if key.startswith("on")], name
        for key in ("src", "srcset", "data", "action", "poster", "background"):
            assert (attributes.get(key) or "data:").startswith("data:"), (name, key)
        if "href" in attributes:
            assert re.match(r"#[a-z]+$|data:,$", attributes["href"] or ""), (name, attributes["href"])
    (policy,) = (one for one in page.having("meta") if one.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


def test_style_sheets_fetch_nothing(texts):
    for style in re.findall(r"<style>(.*?)</style>", texts["full"], re.DOTALL):
        assert "url(" not in style
        assert "@import" not in style


def test_sections_come_in_order_and_are_linked(page):
    anchors = [one["id"] for one in page.having("section")]
    assert anchors == [anchor for anchor in SECTIONS if anchor in anchors]
    assert [one["href"] for one in page.having("a") if one["href"] != "#main"] == [f"#{anchor}" for anchor in anchors]
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {one["aria-labelledby"] for one in page.having("section")} <= set(ids)


def test_a_section_without_content_is_not_there(texts):
    assert [one["id"] for one in Page(texts["full"]).having("section")] == list(SECTIONS)
    left_out = set(SECTIONS) - {one["id"] for one in Page(texts["minimal"]).having("section")}
    assert left_out == {
        "gallery",
        "texts",
        "tiers",
        "trade",
        "clients",
        "byclient",
        "scheduled",
        "compared",
        "untested",
        "measures",
    }
    empty = ("results", "strongest", "as_scheduled", "verdict", "threat_model", "clients", "by_client")
    stopped = full(**dict.fromkeys(empty, ()))
    stopped = stopped.model_copy(update={"compared": None, "auxiliary_curve": (), "valid": False})
    page = Page(audit_page(stopped, {}, {}))
    assert [one["id"] for one in page.having("section")] == ["guarantees", "training", "sanity", "untested", "repeat"]
    assert page.wrong == []


def test_terms_are_explained_once_and_in_the_section_where_they_first_stand(texts):
    for text in texts.values():
        explained = re.findall(r"<dt>(.*?)</dt>", text.partition("<main")[0].rpartition('<dl class="terms"')[2])[:1]
        for section in text.partition("<main")[2].partition("</main>")[0].split("<section ")[1:]:
            own = re.findall(TERMS, section, re.DOTALL)
            explained += re.findall(r"<dt>(.*?)</dt>", "".join(own))
            said = Page("<section " + re.sub(TERMS, "", section, flags=re.DOTALL)).text
            assert [name for name in GLOSSARY if mentions(said, name) and name not in explained] == []
        assert len(explained) == len(set(explained)) > 9


def test_what_assistive_technology_needs(page):
    assert page.having("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.having(landmark)) == 1
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch(r"h[1-6]", name)]
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(one.get("alt") for one in page.having("img"))
    assert len(page.having("table")) == len(page.having("caption"))
    assert all(one.get("scope") for one in page.having("th"))
    regions = [one for _, one in page.elements if one.get("class") == "region"]
    assert regions
    assert all(one["role"] == "region" and one["tabindex"] == "0" and one["aria-label"] for one in regions)


def test_guarantees_are_the_given_sentences_and_no_other_epsilon_is_named(texts):
    assert f"<blockquote>{WEIGHTS}</blockquote>" in texts["full"]
    assert f"<blockquote>{SMASHED}</blockquote>" in texts["full"]
    assert "7.98" not in texts["full"]


def test_a_level_is_said_by_text_and_shape(texts):
    for level in ("exposed", "partly exposed", "not shown to leak"):
        pattern = rf'<span class="badge {level.replace(" ", "-")}"><svg[^>]*aria-hidden="true".*?</svg>{level}</span>'
        assert re.search(pattern, texts["full"], re.DOTALL)


def test_figures_stand_with_interval_guess_and_undefended(texts):
    text = Page(texts["full"]).text
    assert "1 16x32x32 exposed hybrid server-honest-but-curious SSIM 0.830 0.812 to 0.848 0.110 mean-image" in text
    assert "undefended 0.7912 1 0.980 2 0.920 3 0.740 4 0.390" in text
    assert (
        "Tier 3 partly exposed The server rebuilds its images clearly better than a guess could. decoder rebuilds"
        in text
    )
    assert "own-measure Says: see the documentation of this measure" in text


def test_pictures_have_the_gist_of_their_figures_in_words(texts):
    alts = [one["alt"] or "" for one in Page(texts["full"]).having("img")]
    assert any("this run: test accuracy 0.6843, 0.830 at tier 1, 0.630 at tier 2" in alt for alt in alts)
    assert any("hybrid: 0.830 at tier 1 to 0.150 at tier 4, undefended 0.370 to 0.980" in alt for alt in alts)
    dark = [one for one in Page(texts["full"]).having("source") if "dark" in (one["media"] or "")]
    assert len(dark) == len(Page(texts["full"]).having("picture")) == 6


def test_clients_are_compared_in_words_a_picture_and_figures(texts):
    page = Page(texts["full"])
    assert "tier 1, decoder by SSIM: client 3 is more exposed than others, beyond chance (p 0.02)." in page.text
    assert "no difference between clients beyond chance in 1 other comparison (p 0.6 or more)." in page.text
    assert "variety of labels -0.81 (-0.95 to -0.37), number of records +0.12 (-0.54 to +0.69)" in page.text
    assert any(one["alt"].startswith("tier 1, decoder by SSIM: client 3") for one in page.having("img"))


def test_galleries_come_tier_by_tier(texts):
    alts = [one["alt"] or "" for one in Page(texts["full"]).having("img")]
    shown = [alt.partition("guesses ")[2] for alt in alts if alt.startswith("Pictures of")]
    assert shown == ["at tier 1: hybrid", "at tier 2: decoder"]


def test_the_top_has_the_sentence_the_badges_and_the_pictures_before_all_else(texts):
    top = Page(texts["full"].partition("<nav")[0])
    assert "Privacy audit by Example Hospital 29 November 2026 dtfl-private 0.1.0" in top.text
    order = [
        "From what a client of tier 1 sends",
        "How sure:",
        "Tier 1 exposed",
        "Tier 4 not shown",
        "Tier 1: 5 of 256",
    ]
    assert sorted(order, key=top.text.index) == order
    pictures = [one["alt"] for one in top.having("img")]
    assert len(pictures) == 2 * 3 * 5
    assert pictures[0] == "true: image 1, cat, SSIM 0.80"
    assert top.text.index("Who learns it") > top.text.index("Tier 4: 5 of 256")
    assert not Page(texts["invalid"].partition("<nav")[0]).having("img")


@pytest.mark.usefixtures("words_alone")
def test_nothing_is_said_of_lines_that_are_not_drawn(texts):
    assert "dotted: what they reach undefended; grey: trivial guesses." in Page(texts["full"]).text
    for row in (bare := document())["results"]:
        row |= {"undefended": None, "baseline": None}
    bare["results"] = [row for row in bare["results"] if row["adversary"]]
    bare["strongest"] = [{**row, "undefended": None, "baseline": None} for row in bare["strongest"]]
    text = Page(audit_page(Findings.model_validate({**bare, "compared": None}), {}, {})).text
    assert "bars their 95% intervals." in text
    assert "dotted" not in text
    assert "grey" not in text


def test_an_invalid_audit_says_so_first_and_above_all_figures(texts):
    page = Page(texts["invalid"])
    assert "<title>Invalid: " in texts["invalid"]
    assert "md1: decoder reached SSIM 0.412, needed: at least 0.900" in page.text
    assert page.text.index("do not use these figures") < page.text.index("This audit cannot be relied on")
    assert texts["invalid"].count("Invalid audit:</strong>") == 11
    assert "Invalid" not in texts["full"]


@pytest.mark.usefixtures("words_alone")
def test_a_failed_check_voids_an_audit_that_calls_itself_valid():
    text = Page(audit_page(full(sanity=invalid().sanity), {}, {})).text
    assert "do not use these figures" in text
    assert "SSIM 0.830" in text


@pytest.mark.usefixtures("words_alone")
def test_the_page_says_whether_attacks_have_converged_unless_the_audit_is_invalid(texts):
    text = "Convergence: tier 4, hybrid with twice the effort: SSIM"
    assert f"{text} 0.151 instead of 0.150, PSNR 16.4 dB instead of 16.2 dB (converged" in Page(texts["full"]).text
    rising = Page(audit_page(full(convergence=convergence(0.182)), {}, {})).text
    assert f"{text} 0.182 instead of 0.150, PSNR 16.4 dB instead of 16.2 dB (NOT converged" in rising
    assert "These verdicts are from below. Convergence: tier 4" in rising
    assert "These verdicts are from below" not in Page(texts["full"]).text
    assert "Convergence:" not in Page(texts["invalid"]).text
    assert "What to try more effort" in Page(texts["invalid"]).text
    assert "What to try" not in Page(texts["full"]).text


def test_leakage_against_the_attacker_s_data_is_drawn_and_said(texts):
    page = Page(texts["full"])
    assert "tier 4, decoder reaches SSIM 0.120 with 100, 0.140 with 1,000 and 0.150 with 5,000 images" in page.text
    (alt,) = {image["alt"] for image in page.having("img") if "number of auxiliary images" in (image["alt"] or "")}
    assert "SSIM 0.120 with 100 to 0.150 with 5,000 images; identifiability 0.138 with 100" in alt


def test_the_weakest_devices_come_first_with_their_tiers(texts):
    text = Page(texts["full"]).text
    part = text[text.index("Client by client") : text.index("As scheduled Above")]
    assert re.findall(r"pi-zero|phone|workstation", part)[:7] == [*["pi-zero"] * 3, *["phone"] * 3, "workstation"]
    assert "tier 1: 46 tier 2: 14 60 SSIM 0.830" in part
    assert "never took part 0 - - Round " in part


@pytest.mark.usefixtures("words_alone")
def test_many_clients_are_summed_up_by_device():
    text = Page(audit_page(full(clients=clients(150)), {}, {})).text
    assert "Of 150 clients the 20 most exposed are shown" in text
    assert "pi-zero, 0.5 CPU 50 1" in text


def test_mistakes_are_struck_out_and_a_text_that_is_long_says_how_much_is_left_out(texts):
    (section,) = re.findall(r'<section id="texts".*?</section>', texts["full"], re.DOTALL)
    tier = section[section.index("<h3>Tier 1") : section.index("<h3>Tier 2")]
    rows = [Page(row).text for row in re.findall(r"<tr>.*?</tr>", tier, re.DOTALL)]
    assert rows == [
        "true the cat saw and 497 more",
        "token-lookup 0 % right the dog saw",
        "guess: unigram 0 % right the - the",
    ]
    assert re.findall(r'class="wrong">(.*?)<', tier) == ["dog", "-", "the"]
    assert "Text 1 of 1 shown, of 40 attacked, class who" in Page(tier).text
    assert "tokens are shown as their numbers" not in section


HOSTILE = "<script>alert(1)</script>\"'&{{ 7*7 }}\x1b[31m\u202e$\\nonsense$"


def test_texts_from_anybody_stay_texts():
    given = document()
    for row in [*given["results"], *given["strongest"], *given["as_scheduled"]]:
        row["source"], row["adversary"], row["baseline_name"] = HOSTILE, HOSTILE, HOSTILE
        row["settings"] = {HOSTILE: HOSTILE}
    for verdict in given["verdict"]:
        verdict["attack"] = verdict["sentence"] = HOSTILE
    given["training"] |= dict.fromkeys(("dataset", "model", "norm", "method", "partition", "scheduler"), HOSTILE)
    given["training"]["defense"] = [HOSTILE]
    for point in given["auxiliary_curve"]:
        point["result"]["source"] = HOSTILE
    given["convergence"]["attack"] = given["convergence"]["remedy"] = HOSTILE
    given |= dict.fromkeys(("run", "preset", "program", "auxiliary"), HOSTILE)
    given["compared"]["run"] = HOSTILE
    given["clients"][0] |= {"profile": HOSTILE, "by_tier": {HOSTILE: 3}, "metric": HOSTILE}
    given["guarantees"][0]["sentence"] = given["sanity"][0]["attack"] = given["sanity"][0]["metric"] = HOSTILE
    given["repeat"], given["not_tested"] = [HOSTILE], [{"what": HOSTILE, "why": HOSTILE}]
    given["threat_model"] = [{"adversary": HOSTILE, "who": HOSTILE, "capabilities": [HOSTILE]}]
    given["settings"] = given["environment"] = {HOSTILE: HOSTILE}
    given["examples"], pictures = examples(1, label=HOSTILE)
    given["texts"] = read_texts(1, word=HOSTILE, label=HOSTILE)
    given["about"] = {"title": HOSTILE, "organisation": HOSTILE, "dataset": HOSTILE}
    text = audit_page(Findings.model_validate(given), {f"tier-1-{HOSTILE}.png": picture()}, pictures)
    page = Page(text)
    assert page.wrong == []
    assert not page.having("script")
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "<script>alert(1)</script>\"'&{{ 7*7 }}" in page.text


def test_what_a_page_cannot_show_is_replaced_and_nothing_else():
    assert printed("a\nb\x00c\u200bd") == "a\nb\\x00c\\u200bd"
    assert printed("größe 5 µm, 数") == "größe 5 µm, 数"
    assert printed(3) == 3


def test_the_same_findings_make_the_same_page(texts, pictures_drawn_once):
    pictures_drawn_once.clear()
    assert audit_page(minimal(), {}, {}) == texts["minimal"]


def colours(style: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+[0-9]?): (#[0-9a-f]{3,6})\b", style))


def test_text_is_legible_in_both_colour_schemes(texts):
    (style,) = re.findall(r"<style>(.*?)</style>", texts["full"], re.DOTALL)
    light, dark = style.split("@media screen and (prefers-color-scheme: dark)")[:2]
    for scheme in (colours(light), colours(dark.partition("* {")[0])):
        assert len(scheme) >= 15
        for name in ("ink", "muted", "link"):
            for page in ("page", "panel", "stripe"):
                assert contrast(scheme[name], scheme[page]) >= 4.5, (name, page)
        for level in ("exposed", "partly", "unshown", "invalid"):
            assert contrast(scheme[level], scheme[f"{level}-back"]) >= 4.5, level


@pytest.mark.usefixtures("words_alone")
def test_the_page_says_which_result_decides_how_sure_that_is_and_how_often_such_audits_are_wrong():
    decided = document()
    steady = {
        **decided["verdict"][0]["strongest"],
        "source": "steady-attack",
        "advantage": 0.0612,
        "advantage_ci_low": 0.0331,
        "advantage_ci_high": 0.0911,
        "p_value": 1.3e-7,
    }
    decided["verdict"][0]["decided_by"] = steady
    decided["results"] = [*decided["results"], steady]
    decided["chance"] = {"tests": 96, "level": 5e-5, "false_alarm_rate": 0.0048}
    text = Page(audit_page(Findings.model_validate(decided), {}, {})).text
    assert "steady-attack by SSIM +0.061 (0.033 to 0.091) p 1.3e-07" in text
    assert "p-value of 5e-05 or less, for each of 96 tests alike" in text
    assert "in at most 0.5% of such audits" in text
    assert "steady-attack" not in Page(audit_page(full(), {}, {})).text
    decided["valid"] = False
    assert "steady-attack by SSIM" not in Page(audit_page(Findings.model_validate(decided), {}, {})).text


@pytest.mark.usefixtures("words_alone")
def test_tiers_with_a_proof_and_no_attack_are_shown_like_others():
    only_proven = document()
    proof = {
        **only_proven["results"][-2],
        "tier": 3,
        "cut": (32, 16, 16),
        "source": "empirical-epsilon",
        "metric": "empirical-epsilon",
        "value": 2.5,
        "ci_low": 2.5,
        "ci_high": 2.5,
    }
    auc = {**only_proven["strongest"][0], "metric": "auc", "source": "membership-matching"}
    proven = {
        "cut": (32, 16, 16),
        "level": "partly exposed",
        "attack": "empirical-epsilon",
        "strongest": proof,
        "decided_by": proof,
        "sentence": "No attack was judged here, but canaries prove that epsilon is 2.5 at least.",
    }
    findings = full(
        results=[auc, proof],
        strongest=[auc],
        verdict=[
            {**only_proven["verdict"][0], "strongest": auc},
            {**proven, "tier": 2},
            {**proven, "tier": 3},
        ],
        compared=None,
        as_scheduled=[],
    )
    assert leakage_metric(findings) == "auc"
    text = Page(audit_page(findings, {}, {})).text
    assert "No attack was judged here" in text
    assert "empirical-epsilon by epsilon, lower bound" in text
