"""Profiles of devices that were never measured."""

from elastic.profiles.plan import spread_archs
from elastic.profiles.profile import DeviceProfile
from elastic.supernet.folder import digest_supernet
from elastic.timing.records import SubnetTiming
from elastic.timing.setting import Setting


def synthetic(supernet, n=40):
    """A profile whose latencies follow from MACs, as if measured without noise."""
    archs = spread_archs(supernet, n, seed=0)
    times = 0.2 + supernet.macs(archs) * 1e-6
    subnets = tuple(SubnetTiming(arch, (float(ms),) * 3) for arch, ms in zip(archs, times, strict=True))
    return DeviceProfile(Setting(), {"processor": "none", "cores": 1}, digest_supernet(supernet), subnets)
