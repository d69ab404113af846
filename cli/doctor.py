"""`ff doctor`: what works on this machine, what does not, and what to do about it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro

from .console import Console, Summary
from .options import ReportOptions

if TYPE_CHECKING:
    from rich.table import Table

    from .examinations import Finding


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """Examine this machine: versions, devices, what draws, optional parts, weights and their licences, the cache.

    Nothing is changed or downloaded. Exits with 1 when something that `ff fit` cannot do without is broken.
    """

    report: tyro.conf.OmitArgPrefixes[ReportOptions] = ReportOptions()


def run(options: DoctorOptions, console: Console) -> Summary:
    """Examine one thing after the other.

    Raises:
        UnavailableError: something that nothing works without is broken; after everything was told.
    """
    from featurefields.errors import UnavailableError

    from .examinations import EXAMINATIONS

    findings: list[Finding] = []
    with console.progress("examining", len(EXAMINATIONS)) as advance:
        for examine in EXAMINATIONS:
            findings.extend(examine())
            advance(1)
    broken = [finding for finding in findings if finding.state == "broken"]
    states = {
        state: sum(finding.state == state for finding in findings) for state in ("ok", "absent", "broken")
    }
    facts = {
        finding.name: {
            "group": finding.group,
            "state": finding.state,
            "found": finding.found,
            "do": finding.remedy,
        }
        for finding in findings
    }
    title = "everything that ff needs works here" if not broken else "something that ff needs is broken"
    summary = Summary(
        title,
        {"works": states["ok"], "optional and absent": states["absent"], "broken": states["broken"]},
        details={"findings": facts},
        tables=[] if console.json else [_table(findings)],
    )
    if broken and not console.json:
        console.show(summary)
    if broken:
        worst = broken[0]
        raise UnavailableError(f"{worst.name} is broken: {worst.found}; {worst.remedy}")
    return summary


def _table(findings: "list[Finding]") -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    styles = {"ok": "green", "absent": "yellow", "broken": "bold red"}
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("", "", "", "what to do"):
        table.add_column(title, overflow="fold")
    group = ""
    for finding in findings:
        if finding.group != group:
            table.add_section()
            table.add_row(Text(finding.group, style="bold"))
            group = finding.group
        state = Text(finding.state, style=styles[finding.state])
        table.add_row(Text(f"  {finding.name}"), state, Text(finding.found), Text(finding.remedy))
    return table
