"""What chapters publish, small: results that meet every row of the scoreboard, or miss it.

Used by the tests of the claims and of the scoreboard.
"""

import numpy as np

from phutils.claims_models import PAPER_SOAP

R = np.linspace(0.05, 5, 100)
DATA = {"labels": "NEP89", "dataset": "embedded", "n_frames": 1000}
KINDS = "SOAP", "SchNet", "PH"


# --- rings ---------------------------------------------------------------------------------------


def curve(trough):
    """g(r) with a peak at 1.5, a minimum of this height at 2.1 and a second peak of 2 at 2.7."""
    return np.interp(R, [1.2, 1.5, 2.1, 2.7, 3.3], [0, 5, trough, 2, 1])


def persistence(**changes):
    one = {"density": 2.2, "frames": 3, "band": 10.0, "three": 0.2, "sides": 1.6}
    one |= {"rdf": {"r": R, "g": curve(1.0)}}
    one |= {"trend": {"density": [1.5, 3.5], "median": [2.0, 1.0], "largest": [8.0, 3.0]}}
    other = one | {"band": 80.0, "three": 0.7, "sides": 1.2, "rdf": {"r": R, "g": curve(0.2)}}
    found = {"fig_1": {"A": [0.96, 1.02], "B": [1.05, 1.30]}, "liquid": one, "glass": other}
    for key, value in changes.items():
        side, name = key.rsplit("_", 1)
        found[side] = found[side] | {name: value}
    return DATA | found


def inverse(runs=(1.5, 1.51), refits=(1.49,), **changes):
    one = {"low peak": 1.5, "low width": 0.3, "low spread": 0.2}
    one |= {"high width": 0.4, "high spread": 0.5, "small angles": 30.0} | changes
    regions = {
        f"{cut}, {region}": {"% of all": 2.0, "median birth / Å²": birth}
        for cut in ("thresholds", "quantiles")
        for region, birth in (("low", 0.6), ("high", 1.4))
    }
    parts = {"all": [one]} | {
        kind: [one | {"low peak": peak} for peak in peaks]
        for kind, peaks in (("runs", runs), ("refits", refits))
    }
    return DATA | {
        "shown": "quantiles",
        "n_snapshots": 25,
        "snapshots": "stage buffer_low",
        "measured": {"quantiles": parts},
        "null": {
            "any bins": {"small angles": [0, 5, 10]},
            "same births": {"small angles": [0, 9, 15]},
        },
        "512 atoms": {"low pairs": 10, "high pairs": 20},
        "regions": regions,
    }


# --- models --------------------------------------------------------------------------------------


def ridge(random=60.0, trajectory=64.0, stage=230.0, labels="NEP89"):
    rmse = {"Ridge on diagrams, random": [random] * 2}
    rmse |= {"Ridge on diagrams, by trajectory": [trajectory] * 2}
    rmse |= {f"density and stage only, {kind}": [stage] * 2 for kind in ("random", "by trajectory")}
    systems = {
        "random: 216 atoms": {"rmse": 60.0},
        "random: 512 atoms": {"rmse": 50.0, "bias": 3.0},
    }
    systems |= {"random, with diamond: 216 atoms": {"rmse": 61.0}}
    systems |= {"random, with diamond: diamond": {"rmse": 20.0}}
    return DATA | {"labels": labels, "rmse": rmse, "systems": systems}


def network(name, ratio, spread=0.0):
    ratios = [ratio - spread, ratio + spread]
    rmse = {f"{name}, {kind}": [30.0, 32.0] for kind in ("random", "by trajectory")}
    rmse |= {"Ridge, random": [60.0, 62.0], "averaged vectors, small network, random": [38.0, 39.0]}
    systems = {f"{name}, random: 216 atoms": {"rmse": 31.0}}
    systems |= {f"{name}, random: 512 atoms": {"rmse": 25.0, "bias": 1.0}}
    systems |= {f"{name}, with diamond: 216 atoms": {"rmse": 32.0}}
    systems |= {f"{name}, with diamond: diamond": {"rmse": 10.0}}
    results = {"rmse": rmse, "systems": systems}
    return DATA | results | {"ratio": {"random": ratios, "by trajectory": [ratio + 0.1] * 2}}


def soap(ratio=0.3, scatter=0.5, **tested):
    found = {"this page": 30.0, "best of the search": 30.0, "short cutoff": 40.0}
    found |= {"few functions": 60.0} | tested
    rmse = {"SOAP, network, random": [15.0, 17.0], "averaged SOAP, network, random": [20.0, 21.0]}
    rmse |= {"SOAP, network, by trajectory": [16 - scatter, 16 + scatter]}
    rmse |= {"diagrams, Ridge, random": [60.0, 62.0]}
    kinds = "SOAP, network, random", "SOAP, network, by trajectory"
    return DATA | {
        "rmse": rmse,
        "ratio": {kind: [ratio, ratio + 0.01] for kind in kinds},
        "soap": PAPER_SOAP | {"rbf": "gto"},
        "n_features": 360,
        "hyperparameters": {"network": found},
        "search": {"trials": 6, "best": {"r_cut": 3.9, "rbf": "gto"}},
    }


def scrutiny(share=0.2, shift=3.0, potential=200.0):
    rmse = {"Tersoff": potential, "GFN1-xTB": 10.0, "Ridge, same frames": 80.0}
    rmse = {name: {"by trajectory": error} for name, error in rmse.items()}
    boundaries = {"share": share, "shift": shift}
    return DATA | {"sections": {"boundaries": boundaries, "empirical": {"rmse": rmse}}}


# --- maps ----------------------------------------------------------------------------------------

CLAIMS = [
    ["SOAP's map is islands by density (Fig. 5a)", "holds", "gap 1.4 ± 0.1"],
    ["SchNet's islands are broader (Fig. 5b)", "holds", "gap 1.3 ± 0.1"],
    ["PH is the most continuous (Fig. 5c)", "holds", "gap 1.0 ± 0.1"],
    ["other SOAPs are no different (Fig. S13)", "holds", "cutoff of 2 Å: gap 2 ± 0.1"],
    ["PH resembles SchNet, not SOAP, on these maps", "holds", "neither 1, SOAP 1, SchNet 6"],
    ["... PH still resembles SchNet, all scaled by feature", "not seen", "neither 7"],
    ["... SOAP's islands stay, scaled by feature", "not seen", "gap 0.9 ± 0.1"],
    ["... PH is as continuous without counting noise", "holds", "gap 1.0 ± 0.1"],
]


def maps(pca=((1.5, 0.1), (1.0, 0.1), (0.9, 0.1)), other=((9.0, 0.5), (3.0, 0.5), (1.2, 0.1))):
    """Gaps of SOAP, SchNet and PH: of principal components, and at other perplexities."""
    return DATA | {
        "claims": CLAIMS,
        "measures": {
            f"{k}, bare, PCA": {"gap": list(gap)} for k, gap in zip(KINDS, pca, strict=True)
        },
        "other_maps": {
            f"{k}, {perplexity}, 0": {"gap": list(gap)}
            for perplexity in (10, 50)
            for k, gap in zip(KINDS, other, strict=True)
        },
        "left_out": [],
    }


# --- all of them ---------------------------------------------------------------------------------


def good():
    """Results that meet every row, by name."""
    return {
        "persistence": persistence(),
        "dataset": DATA | {"coordination": {"2": 30, "3": 50, "4": 15, "5+": 5}},
        "ridge": ridge(),
        "cnn": network("CNN", 0.7),
        "soap": soap(),
        "schnet": network("SchNet", 0.5),
        "maps": maps(),
        "inverse": inverse(),
        "scrutiny": scrutiny(),
    }


def bad():
    """Results that miss every row, by name."""
    found = good()
    flat = {"density": [1.5, 3.5], "median": [2.0, 1.9], "largest": [8.0, 3.0]}
    found["persistence"] = persistence(
        fig_1_A=[0.97, 1.02],
        liquid_band=41.0,
        liquid_three=0.6,
        liquid_sides=1.3,
        liquid_rdf={"r": R, "g": curve(0.25)},
        liquid_density=2.4,
        glass_trend=flat,
    )
    found["dataset"] = DATA | {"coordination": {"3": 96, "4": 4}}
    found["ridge"] = ridge(130.0, 140.0)
    found["cnn"] = network("CNN", 0.9)
    found["schnet"] = network("SchNet", 1.2)
    few = {"best of the search": 20.0, "short cutoff": 25.0}
    found["soap"] = soap(0.5, **few) | {"n_features": 252}
    for name in ("ridge", "cnn"):
        systems = found[name]["systems"]
        for key in systems:
            if "512" in key or "diamond: diamond" in key:
                systems[key] = systems[key] | {"rmse": 100.0}
    for name, mean in (
        ("soap", "averaged SOAP, network, random"),
        ("schnet", "averaged vectors, small network, random"),
    ):
        found[name]["rmse"][mean] = [90.0, 91.0]
    found["scrutiny"] = scrutiny(2.0, 20.0, 75.0)
    found["maps"] = maps([(1.5, 0.1)] * 3, [(9.0, 0.5)] * 3)
    found["maps"]["claims"] = [[text, "not seen", by] for text, _, by in CLAIMS]
    changes = {"low peak": 1.41, "high width": 0.36, "small angles": 12.0}
    found["inverse"] = inverse((1.41, 1.42), (1.42,), **changes)
    regions = found["inverse"]["regions"]
    regions["quantiles, low"] = regions["quantiles, low"] | {"median birth / Å²": 0.8}
    regions["thresholds, high"] = regions["thresholds, high"] | {"% of all": 0.4}
    found["inverse"]["512 atoms"] = {"low pairs": 0, "high pairs": 20}
    return found
