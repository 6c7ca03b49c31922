"""Findings as an audit could leave them: a defended run with all there is, a minimal one, and an invalid one."""

import io
from typing import Any

from PIL import Image

from dtfl_private.verdicts.findings import Findings

CUTS = {1: (16, 32, 32), 2: (16, 32, 32), 3: (32, 16, 16), 4: (64, 8, 8)}
SSIM = {"decoder": (0.78, 0.61, 0.38, 0.16), "hybrid": (0.83, 0.63, 0.36, 0.15), "surrogate": (0.41, 0.27, 0.19, 0.12)}
UNDEFENDED = {"decoder": (0.95, 0.90, 0.74, 0.39), "hybrid": (0.98, 0.92, 0.73, 0.37), "surrogate": None}
METRICS = ("psnr", "ssim", "ssim-worst-5", "identifiability")
MEAN_IMAGE = {"psnr": 11.9, "ssim": 0.11, "ssim-worst-5": 0.24, "identifiability": 0.002}
WEIGHTS = (
    "released client-side weights: (8, 1e-05)-DP per record added or removed, over 1200 DP-SGD steps, given the "
    "weights and the learning rate that the client was sent, against a party that sees neither smashed data nor which "
    "records a step used; it covers neither smashed data nor labels, and is not per user"
)
SMASHED = "smashed data pass gaussian-noise: no formal guarantee"
CURIOUS = "server-honest-but-curious"


def scale(ssim: float, metric: str) -> float:
    """Return about what another metric is where SSIM is this."""
    scales = {"psnr": 9 + 22 * ssim, "ssim": ssim, "ssim-worst-5": min(0.99, ssim + 0.12)}
    return scales[metric] if metric in scales else min(1.0, ssim * 1.15)


def result(tier: int, source: str, metric: str, value: float, half: float, **more: Any) -> dict[str, Any]:
    given = {"adaptive": True, "adversary": CURIOUS, "n": 256, "seeds": 3, "settings": {}}
    place = {"tier": tier, "cut": CUTS[tier], "source": source, "metric": metric}
    return {**given, **place, "value": value, "ci_low": value - half, "ci_high": value + half, **more}


def attacked(factor: float = 1.0, tiers: int = 4) -> list[dict[str, Any]]:
    """Return the results of all attacks: the sample run's SSIM times a factor, and what follows from it."""
    found = []
    for source, values in SSIM.items():
        for tier, ssim in list(enumerate(values, start=1))[:tiers]:
            bare = UNDEFENDED[source]
            for metric in METRICS:
                value = scale(factor * ssim, metric)
                undefended = None if bare is None else scale(bare[tier - 1], metric)
                reference = {"baseline": MEAN_IMAGE[metric], "baseline_name": "mean-image", "undefended": undefended}
                settings = {"epochs": 60, "width": 96, "perceptual": False}
                half = 0.35 if metric == "psnr" else 0.018
                found.append(result(tier, source, metric, value, half, **reference, settings=settings))
    return found


def guesses() -> list[dict[str, Any]]:
    shared = {"adversary": None, "adaptive": False, "seeds": 1}
    return [
        result(tier, source, metric, MEAN_IMAGE[metric] * factor, 0.01 * MEAN_IMAGE[metric], **shared)
        for source, factor in (("mean-image", 1.0), ("nearest-auxiliary", 1.4))
        for tier in CUTS
        for metric in METRICS
    ]


def measured() -> list[dict[str, Any]]:
    shared = {"adversary": None, "adaptive": False}
    found = [
        result(tier, "distance-correlation", "dcor-squared", value, 0.02, **shared)
        for tier, value in zip(CUTS, (0.71, 0.62, 0.44, 0.31), strict=True)
    ]
    return [*found, result(1, "own-measure", "own-bits", 1234.5, 20.0, **shared, settings={"sigma": 0.5})]


def strongest(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    keys = dict.fromkeys((one["tier"], one["metric"]) for one in results)
    return [
        max((one for one in results if (one["tier"], one["metric"]) == key), key=lambda one: one["value"])
        for key in keys
    ]


def verdict(results: list[dict[str, Any]], levels: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the verdicts by SSIM on tiers 1, 2, ..."""
    found = []
    for tier, level in enumerate(levels, start=1):
        (best,) = (one for one in results if one["tier"] == tier and one["metric"] == "ssim")
        sentence = (
            f"{best['source']} rebuilds records of tier {tier} with SSIM {best['value']:.2f}, "
            f"where the trivial guess reaches {best['baseline']:.2f}"
        )
        found.append(
            {
                "tier": tier,
                "cut": CUTS[tier],
                "level": level,
                "attack": best["source"],
                "strongest": best,
                "sentence": sentence,
            }
        )
    return found


def clients(count: int) -> list[dict[str, Any]]:
    """Return clients of which every third has a weak device and stays in shallow tiers."""
    kinds = (
        ("pi-zero, 0.5 CPU", {"1": 46, "2": 14}, 0.83),
        ("phone, 1 CPU", {"2": 30, "3": 30}, 0.63),
        ("workstation, 4 CPU", {"3": 10, "4": 50}, 0.38),
    )
    found = []
    for client in range(count):
        profile, tiers, value = kinds[client % 3]
        sent = {tier: releases + client % 4 for tier, releases in tiers.items()}
        found.append(
            {
                "client": client,
                "profile": profile,
                "records": 4_500 + 37 * client,
                "by_tier": sent,
                "releases": sum(sent.values()),
                "rounds": sum(sent.values()),
                "shallowest": int(min(sent)),
                "metric": "ssim",
                "value": value - 0.002 * (client % 7),
            }
        )
    found[-1] |= {"by_tier": {}, "releases": 0, "rounds": 0, "shallowest": None, "metric": None, "value": None}
    return found


def training(**more: Any) -> dict[str, Any]:
    return {
        "dataset": "cifar-10",
        "model": "resnet-20",
        "norm": "group",
        "method": "dtfl",
        "scheduler": "dynamic",
        "partition": "dirichlet:alpha=0.5",
        "clients": 10,
        "rounds": 60,
        "seed": 7,
        "tiers": (1, 2, 3, 4),
        "defense": ("dp-weights:epsilon=8,delta=1e-5", "gaussian-noise:scale=0.5"),
        "test_accuracy": 0.6843,
        "undefended_accuracy": 0.7912,
        **more,
    }


def document() -> dict[str, Any]:
    """Return the contents of a whole audit, to be changed by a test."""
    results = attacked()
    best, others = strongest(results), strongest(attacked(0.72))
    compared = [
        {"tier": this["tier"], "metric": this["metric"], "this": this, "other": other, "apart": this["tier"] < 4}
        for this, other in zip(best, others, strict=True)
    ]
    return {
        "program": "0.1.0",
        "run": "runs/cifar-10-dtfl-7",
        "round": 60,
        "preset": "thorough",
        "settings": {"victims": 256, "aux": 5000, "seeds": 3, "batch-norm": False, "recorded": None},
        "training": training(),
        "threat_model": [
            {
                "adversary": CURIOUS,
                "who": "the server, which follows the protocol and keeps all that it receives",
                "capabilities": ["the weights that a client starts from", "the smashed data", "the labels"],
            },
            {
                "adversary": "server-malicious",
                "who": "the server, which sends whatever weights and names whatever tier helps it",
                "capabilities": ["the smashed data", "the power to send other weights", "to name another tier"],
            },
        ],
        "auxiliary": "5000 labelled images of the same distribution, none of them a client's",
        "victims": 256,
        "aux": 5000,
        "valid": True,
        "sanity": [check("identity", 0.998, 0.99), check("md1", 0.981, 0.9)],
        "convergence": convergence(0.151),
        "auxiliary_curve": auxiliary_curve(0.15),
        "by_client": [compared_clients(1, 0.02, odd=True), compared_clients(4, 0.6, odd=False)],
        "results": results + guesses() + measured(),
        "as_scheduled": [
            {**one, "value": one["value"] * 0.97, "ci_low": one["ci_low"] * 0.95, "n": 64} for one in best
        ],
        "strongest": best,
        "verdict": verdict(best, ("exposed", "exposed", "partly exposed", "not shown to leak")),
        "clients": clients(10),
        "guarantees": [
            {
                "what": "weights",
                "epsilon": 7.98413,
                "delta": 1e-5,
                "per": "record added or removed",
                "sentence": WEIGHTS,
                "client": 3,
            },
            {**dict.fromkeys(("epsilon", "delta", "per", "client")), "what": "smashed", "sentence": SMASHED},
            {
                **dict.fromkeys(("epsilon", "delta", "per", "client")),
                "what": "labels",
                "sentence": "labels are sent in clear",
            },
        ],
        "not_tested": [
            {"what": "lira", "why": "needs shadow runs, which the preset leaves out"},
            {"what": "update-inversion", "why": "the run's clients take more than one step per round"},
        ],
        "compared": {
            "run": "runs/cifar-10-dtfl-shuffled",
            "training": training(defense=("patch-shuffle:size=4",), test_accuracy=0.612, undefended_accuracy=None),
            "rows": compared,
        },
        "repeat": [
            "dtfl-private train runs/cifar-10-dtfl-7/config.toml --out runs/again",
            "dtfl-private audit runs/again --preset thorough --victims 256 --aux-images 5000 --seed 7",
        ],
        "environment": {"python": "3.11.2", "torch": "2.6.0", "device": "cpu", "threads": 1, "commit": None},
        "about": {"organisation": "Example Hospital", "date": "2026-11-29", "dataset": "cifar-10", "inputs": "images"},
    }


def compared_clients(tier: int, p_value: float, *, odd: bool) -> dict[str, Any]:
    """Return ten clients compared at a tier; if ``odd`` client 3 gives more away than others."""
    found = []
    for client in range(10):
        way = 0.3 + 0.01 * client + 0.3 * (odd and client == 3)
        found.append(
            {
                "client": client,
                "n": 32,
                "value": 0.5 + way / 2,
                "guess": 0.5,
                "recovered": way,
                "shrunk": way - 0.01,
                "ci_low": way - 0.06,
                "ci_high": way + 0.05,
                "above": client > 4 or client == 3,
                "p_value": 0.001 if odd and client == 3 else 0.7,
                "records": 4_500 + 37 * client,
                "label_entropy": 2.5 - 0.1 * client,
                "oddness": 0.1 + 0.01 * client,
            }
        )
    correlations = [
        {"trait": "label-entropy", "value": -0.81, "ci_low": -0.95, "ci_high": -0.37},
        {"trait": "records", "value": 0.12, "ci_low": -0.54, "ci_high": 0.69},
    ]
    given = {"tier": tier, "attack": "decoder", "metric": "ssim", "guess": "class-mean", "deviation": 0.08}
    return {
        **given,
        "p_value": p_value / 2,
        "adjusted": p_value,
        "clients": found,
        "correlations": correlations if odd else [],
    }


def examples(*tiers: int, label: str | None = "cat") -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Return five examples of each tier, and their pictures by file name."""
    found, pictures = [], {}
    for tier in tiers:
        for place in range(1, 6):
            given = {"tier": tier, "place": place, "attack": "hybrid", "label": label, "victims": 256}
            found.append({**given, "ssim": 0.9 - 0.1 * place, "psnr": 30.0 - place})
            for shade, view in ((20 * place, "true"), (20 * place + 5, "rebuilt"), (128, "guess")):
                pictures[f"tier-{tier}-{place}-{view}.png"] = picture(shade)
    return found, pictures


def read_texts(*tiers: int, word: str = "cat", label: str | None = "who") -> list[dict[str, Any]]:
    """Return a text of each tier, of three of 500 tokens shown, of which an attack has two right and a guess one."""
    given = {"place": 1, "label": label, "victims": 40, "pieces": ["the", word, "saw"], "left_out": 497}
    attack = {"source": "token-lookup", "pieces": ["the", "dog", "saw"], "accuracy": 0.004}
    guess = {"source": "unigram", "trivial": True, "pieces": ["the", "", "the"], "accuracy": 0.002}
    return [{**given, "tier": tier, "guesses": [attack, guess], "wrong": [[1], [1, 2]]} for tier in tiers]


def check(name: str, value: float, needed: float) -> dict[str, Any]:
    given = {"name": name, "attack": "decoder", "metric": "ssim", "value": value, "needed": needed}
    return {**given, "passed": value >= needed}


def convergence(doubled: float, psnr: float = 16.4) -> dict[str, Any]:
    """Return what hybrid got at tier 4 with twice the effort, instead of an SSIM of 0.15 and 16.2 dB."""
    given = {"tier": 4, "attack": "hybrid", "metric": "ssim", "value": 0.15, "doubled": doubled, "margin": 0.02}
    rise = {"value": 16.2, "doubled": psnr, "margin": 1.0, "exact": 40.0}
    converged = doubled <= 0.17 and psnr <= 17.2
    return {**given, "converged": converged, "remedy": "--effort normal or exhaustive", "psnr": rise}


def auxiliary_curve(last: float) -> list[dict[str, Any]]:
    """Return what decoder got at tier 4 with 100, 1,000 and 5,000 images: SSIM 0.12, 0.14 and ``last``."""
    found = []
    for metric in ("ssim", "psnr", "identifiability"):
        for images, ssim in ((100, 0.12), (1000, 0.14), (5000, last)):
            reference = {"baseline": MEAN_IMAGE[metric], "baseline_name": "mean-image", "seeds": 1}
            point = result(4, "decoder", metric, scale(ssim, metric), 0.018, **reference)
            found.append({"images": images, "result": point})
    return found


def full(**changes: Any) -> Findings:
    """Return the findings on a defended run of 10 clients in 4 tiers, compared with another."""
    return Findings.model_validate({**document(), **changes})


def minimal(**changes: Any) -> Findings:
    """Return the findings on an undefended run with one tier, from a quick audit, with nothing compared."""
    results = [{**one, "undefended": None, "seeds": 1} for one in attacked(1.15, tiers=1) if one["source"] == "decoder"]
    return full(
        **{
            "run": "runs/digits",
            "preset": "quick",
            "results": results,
            "strongest": results,
            "by_client": [],
            "as_scheduled": [],
            "training": training(defense=(), undefended_accuracy=None, tiers=(1,), clients=1),
            "verdict": verdict(results, ("exposed",)),
            "clients": clients(1),
            "not_tested": [],
            "compared": None,
            "guarantees": [
                {
                    **dict.fromkeys(("epsilon", "delta", "per", "client")),
                    "what": "smashed",
                    "sentence": "smashed data and labels are sent in clear",
                }
            ],
            **changes,
        }
    )


def invalid() -> Findings:
    """Return the findings of an audit whose attack failed where it must succeed."""
    best = strongest(attacked())
    return full(
        valid=False,
        sanity=[check("identity", 0.998, 0.99), check("md1", 0.412, 0.9)],
        verdict=verdict(best, ("invalid",) * 4),
    )


def picture(colour: int = 120) -> bytes:
    """Return a small PNG picture."""
    file = io.BytesIO()
    Image.new("L", (64, 24), colour).save(file, "PNG")
    return file.getvalue()


def luminance(colour: str) -> float:
    """Relative luminance by WCAG 2.2."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours by WCAG 2.2, from 1 to 21."""
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
