"""The report of a campaign: as JSON, and as tables for people."""

import os
from collections import Counter
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.table import Table

from bench.faults.campaign import Outcome

_CENTS = 2


def faults_by_kind(outcome: Outcome) -> Counter[str]:
    """How many of each kind; a queue that was to be filled and was not is none."""
    return Counter(done.kind for done in outcome.faults if done.note != "not reached")


def failures(outcome: Outcome) -> list[str]:
    """Why the campaign failed, one line each; empty is a pass."""
    return [*outcome.verdict.wrong, *outcome.surprises]


def as_dict(outcome: Outcome, command: str = "") -> dict[str, Any]:
    """For JSON. Sums are texts, so that no reader makes floats of them. `command` plays it again."""
    options, verdict = outcome.options, outcome.verdict
    by_kind = faults_by_kind(outcome)
    return {
        "passed": not failures(outcome),
        "failures": failures(outcome),
        "command": command,
        "setup": {
            "entrypoints": options.stage.entrypoints,
            "workers": options.stage.workers,
            "totals": options.stage.totals,
            "receipts_per_second": options.traffic.rate,
            "copies": options.traffic.copies,
            "conflicts": options.traffic.conflicts,
            "work_max_bytes": options.stage.work_max_bytes,
            "broker": outcome.broker,
            "store": "FerretDB 1.24 on SQLite",
            "cores": os.cpu_count(),
        },
        "seed": options.seed,
        "seconds": outcome.took_s,
        "rest_seconds": outcome.rest_s,
        "longest_silence_seconds": outcome.silence_s,
        "receipts": {
            name: getattr(verdict, name)
            for name in (
                "attempted", "acknowledged", "refused", "unknown", "stored", "recovered", "refused_stored",
                "conflicts", "lost", "uncounted", "duplicated", "invented",
            )
        },
        "answers": outcome.answers,
        "sums": {
            name: f"{getattr(verdict, name + '_sum'):.{_CENTS}f}"
            for name in ("acknowledged", "recovered", "stored", "totals")
        },
        "audit": outcome.audit.strip(),
        "faults": {
            "count": by_kind.total(),
            "kinds": len(by_kind),
            "by_kind": dict(sorted(by_kind.items())),
            "skipped": outcome.skipped,
            "list": [
                {"at_s": one.at_s, "lasted_s": one.lasted_s, "kind": one.kind, "target": one.target, "note": one.note}
                for one in sorted(outcome.faults, key=lambda one: one.at_s)
            ],
        },
        "processes": {"ended_by_themselves": outcome.ended, "errors_logged": outcome.complaints},
    }  # fmt: skip


def tables(outcome: Outcome) -> Group:
    """For people."""
    verdict = outcome.verdict
    receipts = Table("receipts", "", "", title=f"Seed {outcome.options.seed}, {outcome.took_s:.0f} s")
    receipts.columns[1].justify = "right"
    for name, count, meaning in (
        ("attempted", verdict.attempted, "distinct receipts posted"),
        ("acknowledged", verdict.acknowledged, "answered with 202 at least once"),
        ("refused", verdict.refused, "never answered but with a refusal"),
        ("unknown", verdict.unknown, "never answered with 202, and an answer was lost"),
        ("stored", verdict.stored, f"in the store; {verdict.stored_sum:,.{_CENTS}f}"),
        ("conflicts", verdict.conflicts, "in rejected: another content came first"),
        ("recovered", verdict.recovered, "unknown, and there"),
        ("lost", verdict.lost, "acknowledged, and not there"),
        ("uncounted", verdict.uncounted, "stored, and not in the totals"),
        ("duplicated", verdict.duplicated, f"counted twice; the totals say {verdict.totals_sum:,.{_CENTS}f}"),
    ):
        receipts.add_row(name, f"{count:,}", meaning)
    faults = Table("fault", "times", "seconds", title="Faults")
    for column in faults.columns[1:]:
        column.justify = "right"
    for kind, count in sorted(faults_by_kind(outcome).items()):
        lasted = sorted(done.lasted_s for done in outcome.faults if done.kind == kind)
        faults.add_row(kind, str(count), f"{lasted[0]:g} to {lasted[-1]:g}")
    for kind, why in outcome.skipped.items():
        faults.add_row(f"[bold red]NOT DONE[/] {kind}", "0", escape(why))
    notes = [f"{count} x {escape(text)}" for text, count in outcome.complaints.items()]
    notes += [f"{name} ended by itself with {escape(str(codes))}" for name, codes in outcome.ended.items()]
    wrong = failures(outcome)
    said = [f"[bold red]FAILED[/] {escape(text)}" for text in wrong] or [
        "[bold green]PASSED[/] nothing lost, nothing counted twice, totals equal to the cent, the audit agrees"
    ]
    return Group(receipts, faults, *notes, *said)


def show(outcome: Outcome) -> None:
    """Print the tables to the terminal's error output."""
    Console(stderr=True, highlight=False).print(tables(outcome))
