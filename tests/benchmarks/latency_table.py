"""Predicted against measured latency: profiles a supernet on each way of measuring, then checks fresh subnets.

    .venv/bin/python tests/benchmarks/latency_table.py                       the digits demo's supernet, onnxruntime
    .venv/bin/python tests/benchmarks/latency_table.py --blocks 0 --subnets 100

Weights don't matter for latency, so nothing is trained. What is measured stays in `--out`: run again, it is checked
again. Leave the machine alone meanwhile: the table says where it was too busy.
"""

import argparse
import sys
from pathlib import Path

import yaml

from elastic import DeviceProfile, Setting, Supernet, SupernetSource, check_profile, measure_profile

DIGITS = Path(__file__).parents[2] / "trainers" / "configs" / "digits.yaml"


def digits() -> Supernet:
    """The supernet of the demo, untrained."""
    return SupernetSource(**yaml.safe_load(DIGITS.read_text())["model"]["supernet"]).build().eval()


def table(profile: DeviceProfile) -> str:
    """What the profile's checks say, a row each."""
    lines = [
        "| fresh subnets | measured, ms | MAPE | Kendall τ | within interval | drift | taken by others | trusted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for check in profile.checks:
        times, conditions = check.measured_ms, check.conditions
        lines.append(
            f"| {len(times)} | {times.min():.3g} to {times.max():.3g} | {check.mape:.2f} % | {check.tau:.3f} "
            f"| {check.coverage:.0%} of {check.nominal:.0%} | {conditions.drift:.1%} | {conditions.others:.1%} "
            f"| {'no: ' + '; '.join(check.objections) if check.objections else 'yes'} |"
        )
    objections = "; ".join(profile.objections) or "quiet"
    lines.append(
        f"\n{profile.device['processor']}, {profile.setting.runtime}, {profile.setting.threads} thread(s): "
        f"{len(profile.subnets)} subnets and {len(profile.blocks)} blocks measured ({objections}), "
        f"drift {profile.conditions.drift:.1%}, taken by others {profile.conditions.others:.1%}."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--subnets", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=400)
    parser.add_argument("--check", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--out", type=Path, default=Path("latency_table.json"))
    given = parser.parse_args()
    supernet, setting = digits(), Setting(given.runtime)
    if given.out.exists():
        profile = DeviceProfile.load(given.out)
    else:
        profile = measure_profile(
            supernet, setting, given.subnets, given.seconds, progress=True, blocks=given.blocks, out=given.out
        )
    seed = 1 + len(profile.checks)
    checked = check_profile(supernet, profile, given.check, given.seconds / 4, seed=seed, progress=True)
    profile = profile.with_check(checked)
    profile.save(given.out)
    sys.stdout.write(table(profile) + "\n")


if __name__ == "__main__":
    main()
