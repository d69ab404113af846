"""Tables of what was measured: mean ± standard deviation over the trainings, and the change against the base."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

from benchmarks.distill.variants import BASE

Measured = Mapping[str, Sequence[Mapping[str, float]]]
"""Variant → one mapping (number → value) for every seed."""
LOWER_IS_BETTER = ("rmse", "abs_rel")


def table(measured: Measured) -> str:
    """Markdown: a row a number, a column a variant, with the relative change against the base."""
    variants = list(measured)
    names = list(measured[BASE][0])
    lines = ["| | " + " | ".join(variants) + " |", "|---|" + "---|" * len(variants)]
    for name in names:
        cells = [
            _cell(name, [row[name] for row in measured[variant] if name in row], measured)
            for variant in variants
        ]
        arrow = "↓" if any(word in name for word in LOWER_IS_BETTER) else "↑"
        lines.append(f"| {name} {arrow} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(name: str, values: Sequence[float], measured: Measured) -> str:
    if not values:
        return "–"
    base = mean(row[name] for row in measured[BASE])
    spread = f" ± {stdev(values):.3g}" if len(values) > 1 else ""
    change = (
        f" ({(mean(values) / base - 1) * 100:+.1f} %)" if base and values and mean(values) != base else ""
    )
    return f"{mean(values):.4g}{spread}{change}"
