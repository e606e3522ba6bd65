"""`elastic profile`: measure how long subnets and their blocks take on a device."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # in quotes below: to resolve postponed annotations jsonargparse would import these
    from elastic.profiles.profile import DeviceProfile
    from elastic.supernet.supernet import Supernet


def profile(
    supernet: str,
    out: str = "profile.json",
    runtime: str = "torch",
    device: str = "cpu",
    threads: int = 1,
    batch_size: int = 1,
    precision: str = "float32",
    subnets: int = 32,
    time_limit: float = 120.0,
    *,
    blocks: int = 512,
    resolutions: str = "",
    seed: int = 0,
    accept_noise: bool = False,
) -> None:
    """Measure how long subnets and their blocks take on this device.

    Interrupted, the same command goes on where it stopped. A measurement that is too noisy to be trusted is written
    all the same, but ends with exit status 1. See also: elastic profile check, elastic profile kit, elastic profile
    import.

    Args:
        supernet: a trained supernet's folder; or a name that elastic zoo list shows, for its pretrained weights.
        out: the JSON file to write.
        runtime: torch (eager), torch.compile, onnxruntime or openvino.
        device: cpu or cuda.
        threads: threads within an operator, on the CPU.
        batch_size: inputs per forward pass.
        precision: float32; with torch or torch.compile also float16 or bfloat16, with openvino bfloat16.
        subnets: how many whole subnets to measure.
        time_limit: seconds of measuring; preparing comes on top.
        blocks: measure the blocks, too, unless there are more different ones than this.
        resolutions: measure at these only, such as 160,192; at all by default.
        seed: draws the subnets and the order of measuring.
        accept_noise: end well even if the measurement is noisy.
    """
    from elastic.support.progress import waiting

    with waiting("loading PyTorch"):
        from elastic.profiles.measuring import measure_profile
        from elastic.timing.backends import check_setting
        from elastic.timing.setting import Setting
        from trainers.cli.arguments import parse_resolutions
        from trainers.jobs.trained import open_trained

    setting = Setting(runtime, device, threads, batch_size, precision)
    check_setting(setting)
    sides = parse_resolutions(resolutions)
    trained = open_trained(supernet).supernet
    found = measure_profile(
        trained, setting, subnets, time_limit, blocks=blocks, resolutions=sides, seed=seed, out=out, progress=True
    )
    _save(found, trained, out, accept_noise)


def check(
    supernet: str,
    profile: str = "profile.json",
    subnets: int = 50,
    time_limit: float = 120.0,
    *,
    seed: int = 1,
    accept_noise: bool = False,
) -> None:
    """Measure fresh random subnets, and compare them with what a profile of this device predicts.

    They are measured as the profile's own were; the comparison is added to the profile's file.

    Args:
        supernet: the supernet that the profile was measured on: its folder, or a name that elastic zoo list shows.
        profile: what elastic profile, or elastic profile import, wrote.
        subnets: how many fresh subnets to measure.
        time_limit: seconds of measuring; preparing comes on top.
        seed: draws the subnets and the order of measuring.
        accept_noise: end well even if the profile's measurement is noisy.
    """
    from trainers.cli.arguments import check_profiles

    check_profiles(profile)

    from elastic.support.progress import waiting

    with waiting("loading PyTorch"):
        from elastic.profiles.measuring import check_profile
        from elastic.profiles.profile import DeviceProfile
        from trainers.jobs.trained import open_trained

    given = DeviceProfile.load(profile)
    trained = open_trained(supernet).supernet
    checked = given.with_check(check_profile(trained, given, subnets, time_limit, seed=seed, progress=True))
    _save(checked, trained, profile, accept_noise)


def kit(
    supernet: str,
    out: str = "kit",
    threads: int = 1,
    batch_size: int = 1,
    subnets: int = 32,
    time_limit: float = 120.0,
    *,
    blocks: int = 512,
    resolutions: str = "",
    seed: int = 0,
) -> None:
    """Write a folder with models and a script that measures them with onnxruntime, where this project isn't installed.

    What the script writes becomes a profile by elastic profile import.

    Args:
        supernet: a trained supernet's folder, or a name that elastic zoo list shows.
        out: the folder to write; it must not be there yet, or be empty.
        threads: threads within an operator; the script can be told otherwise.
        batch_size: inputs per forward pass.
        subnets: how many whole subnets to measure.
        time_limit: seconds of measuring, unless the script is told otherwise.
        blocks: measure the blocks, too, unless there are more different ones than this.
        resolutions: measure at these only, such as 160,192; at all by default.
        seed: draws the subnets and the order of measuring.
    """
    from elastic.support.progress import waiting

    with waiting("loading PyTorch"):
        from elastic.profiles.kit import write_kit
        from elastic.support.console import show
        from elastic.timing.setting import Setting
        from trainers.cli.arguments import parse_resolutions
        from trainers.jobs.trained import open_trained

    setting, sides = Setting("onnxruntime", "cpu", threads, batch_size), parse_resolutions(resolutions)
    folder = write_kit(
        open_trained(supernet).supernet,
        out,
        setting,
        subnets,
        time_limit,
        blocks=blocks,
        resolutions=sides,
        seed=seed,
        progress=True,
    )
    show(f"kit: {folder}; on the device, run its measure.py")


def import_(supernet: str, measured: str, out: str = "profile.json", *, accept_noise: bool = False) -> None:
    """Make a profile of what a kit's script has measured on another device.

    Args:
        supernet: the supernet that the kit was made from: its folder, or a name that elastic zoo list shows.
        measured: the file measured.json that the script wrote, or the kit's folder with it.
        out: the JSON file to write.
        accept_noise: end well even if the measurement is noisy.
    """
    from elastic.support.progress import waiting

    with waiting("loading PyTorch"):
        from elastic.profiles.kit import read_measured
        from trainers.jobs.trained import open_trained

    trained = open_trained(supernet).supernet
    _save(read_measured(trained, measured), trained, out, accept_noise)


def _save(found: "DeviceProfile", supernet: "Supernet", out: str, accept_noise: bool) -> None:
    """Write and show a profile.

    Raises:
        SystemExit: with status 1, where the measurement is noisy and that isn't accepted.
    """
    from elastic.reporting.tables import profile_table
    from elastic.support.console import show
    from elastic.timing.records import QUIET

    found.save(out)
    show(profile_table(found, supernet))
    show(f"profile: {out}")
    if found.objections:
        show(f"noisy: {'; '.join(found.objections)}. {QUIET}", style="red")
    if not (found.good or accept_noise):
        raise SystemExit(1)
