"""The hardware and software line that stands under every figure."""

import os
import platform
from pathlib import Path

import torch


def host_line() -> str:
    """Return processor, cores, torch and Python of this host in one line."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        processor = names[0].partition(":")[2].strip() if names else processor
    features = torch.backends.cpu.get_cpu_capability()
    amx = " + AMX" if torch.cpu._is_amx_tile_supported() else ""
    software = f"torch {torch.__version__}, Python {platform.python_version()}"
    return f"{processor} ({features}{amx}), {os.cpu_count()} cores, {software}"
