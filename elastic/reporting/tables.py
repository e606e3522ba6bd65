"""Tables in the terminal: profiles, exports, latencies, search results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from rich.table import Column, Table

from elastic.profiles.profile import FEWEST, DeviceProfile
from elastic.searching.result import SearchResult
from elastic.shipping.card import spell_check, spell_latency
from elastic.shipping.export import Exported
from elastic.supernet.supernet import Supernet
from elastic.support.text import spell_bytes, spell_metric, spell_name


def profile_table(measured: DeviceProfile, supernet: Supernet) -> Table:
    """A summary of a profile."""
    setting, times = measured.setting, measured.measured_ms
    noise = np.median([one.timing.uncertainty for one in measured.subnets]) * 100
    table = Table("device profile", "")
    versions = f"{setting.runtime} {measured.device.get(setting.runtime, '')}".strip()
    table.add_row("device", f"{measured.device['processor']}, {setting.threads} of {measured.device['cores']} cores")
    table.add_row("runtime", f"{versions}, batch {setting.batch_size}, {setting.precision}")
    blocks = f"{len(measured.blocks)} blocks" if measured.blocks else "no blocks (there are more than --blocks)"
    table.add_row("measured", f"{len(measured.subnets)} subnets, {blocks}; medians ± {noise:.1f} %")
    table.add_row("latency", f"{times.min():.3g} to {times.max():.3g} ms")
    if len(times) >= FEWEST:
        error = measured.prediction_error(supernet)
        table.add_row("prediction", f"error {error.mape:.1f} % (MAPE), Kendall τ {error.tau:.2f}, cross-validated")
    for check in measured.checks:
        coverage = f"{check.coverage:.0%} of measured within {check.nominal:.0%} intervals"
        noisy = " (noisy)" if check.objections else ""
        metrics = f"error {check.mape:.1f} % (MAPE), Kendall τ {check.tau:.2f}, {coverage}{noisy}"
        table.add_row("check", f"{len(check.subnets)} fresh subnets: {metrics}")
    return table


def export_table(written: Exported) -> Table:
    """The files of an export."""
    table = Table(Column("file", overflow="fold"), "size", "checked")
    for name, facts in written.files.items():
        checked = spell_check(facts)
        if checked and "runtime" in facts:
            batch = "" if facts["batch"] == "any" else f", batch {facts['batch']}"
            checked = f"in {facts['runtime']}{batch}: {checked}"
        checked = checked or ("strict on loading" if name.endswith(".safetensors") else "")
        table.add_row(str(written.folder / name), spell_bytes(facts["bytes"]) if "bytes" in facts else "", checked)
    for name in ("config.json", "README.md", *written.loader):
        table.add_row(str(written.folder / name), spell_bytes((written.folder / name).stat().st_size), "")
    return table


def latency_table(measured: Mapping[str, Any]) -> Table:
    """Latencies of an export's files, and reasons not to trust them."""
    threads = f"{measured['threads']} thread{'s' if measured['threads'] > 1 else ''}"
    caption = f"noisy: {'; '.join(measured['objections'])}. Close other programs and measure again"
    title = f"latency on {measured['device']['processor']}, {threads}, batch {measured['batch_size']}"
    table = Table("file", "runtime", "latency", title=title, caption=caption if measured["objections"] else None)
    for row in measured["runs"]:
        table.add_row(row["file"], row["runtime"], spell_latency(row))
    return table


def result_table(result: SearchResult) -> Table:
    """The front of a search, its best subnet marked, with remeasured metrics beside those of the search."""
    objectives = [*result.maximize, *result.minimize]
    again = list(dict.fromkeys(name for one in result.candidates for name in one.measured))
    best = result.best
    titles = [*map(spell_name, objectives), *(f"{spell_name(name)},\nmeasured again" for name in again)]
    table = Table("", "arch", *titles)
    front = result.front
    for one in front if best in front else [best, *front]:
        metrics = [spell_metric(name, one.metrics[name]) for name in objectives]
        metrics += [spell_metric(name, one.measured[name]) if name in one.measured else "" for name in again]
        table.add_row("best" if one == best else "", one.arch.id, *metrics)
    return table
