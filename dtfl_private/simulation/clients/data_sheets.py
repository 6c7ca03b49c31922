"""Example devices with figures from public data sheets: none of them was measured by us.

A data sheet says what a device can do at best; what it reaches is less. Peaks are half of the sheet's operations per
second (a multiply-accumulate is two), without sparsity, or cores times clock where the sheet gives those. What no sheet
gives is assumed: launch times (20 microseconds on a fast host, more on slower ones), links, and the memory that is left
for training.
"""

from collections.abc import Mapping
from typing import Any

Sheet = Mapping[str, Any]
"""The fields of a resource profile."""

ASSUMED = "Launch times, links and usable memory are assumptions."

PHONE: Sheet = {
    "name": "phone SoC",
    "cpus": 40 / 15,
    "up_mbit_s": 10,
    "down_mbit_s": 50,
    "latency_ms": 40,
    "engines": {
        "cpus": {"macs_per_s": {"fp32": 40e9}, "bytes_per_s": 17e9, "launch_s": 4e-5, "memory_bytes": 2e9},
        "gpu": {"macs_per_s": {"fp16": 360e9}, "bytes_per_s": 17e9, "launch_s": 5e-5, "memory_bytes": 2e9},
    },
    "source": (
        "data sheet, not measured: Qualcomm Snapdragon 768G as listed by NanoReview (two Cortex-A76 at 2.8 and 2.2 "
        "GHz, Adreno 620 with 720 GFLOP/s, taken as fp16, and 17 GB/s); 8 MACs a cycle and core by Arm's Cortex-A76 "
        f"Software Optimization Guide. {ASSUMED}"
    ),
}

RASPBERRY_PI: Sheet = {
    "name": "Raspberry Pi 5",
    "cpus": 76.8 / 15,
    "up_mbit_s": 30,
    "down_mbit_s": 30,
    "latency_ms": 10,
    "engines": {
        "cpus": {"macs_per_s": {"fp32": 76.8e9}, "bytes_per_s": 17.07e9, "launch_s": 4e-5, "memory_bytes": 6e9},
        "npu": {"macs_per_s": {"int8": 6.5e12}, "launch_s": 5e-5},
    },
    "source": (
        "data sheet, not measured: Raspberry Pi 5 specifications (four Cortex-A76 at 2.4 GHz, 32 bits of "
        "LPDDR4X-4267, 8 GB) and Raspberry Pi AI Kit (Hailo-8L, 13 TOPS in int8); 8 MACs a cycle and core by Arm's "
        f"Cortex-A76 Software Optimization Guide. {ASSUMED}"
    ),
}

JETSON: Sheet = {
    "name": "Jetson Orin Nano",
    "cpus": 72 / 15,
    "up_mbit_s": 100,
    "down_mbit_s": 100,
    "latency_ms": 5,
    "engines": {
        "cpus": {"macs_per_s": {"fp32": 72e9}, "bytes_per_s": 68e9, "launch_s": 4e-5, "memory_bytes": 6e9},
        "gpu": {
            "macs_per_s": {"fp32": 640e9, "bf16": 5e12, "fp16": 5e12, "int8": 10e12},
            "bytes_per_s": 68e9,
            "launch_s": 3e-5,
            "memory_bytes": 6e9,
        },
    },
    "source": (
        "data sheet, not measured: NVIDIA Jetson Orin Nano Series data sheet, 8 GB (1,024 CUDA cores at 625 MHz, 20 "
        "TOPS dense in int8, six Cortex-A78AE at 1.5 GHz, 68 GB/s); half the int8 rate in fp16 and bf16, as in "
        f"NVIDIA's Ampere architecture white paper. {ASSUMED}"
    ),
}

LAPTOP: Sheet = {
    "name": "laptop GPU",
    "cpus": 8,
    "up_mbit_s": 100,
    "down_mbit_s": 100,
    "latency_ms": 5,
    "engines": {
        "cpus": {"bytes_per_s": 60e9, "launch_s": 2e-5, "memory_bytes": 16e9},
        "gpu": {
            "macs_per_s": {"fp32": 5.8e12, "bf16": 5.8e12, "fp16": 5.8e12},
            "bytes_per_s": 256e9,
            "launch_s": 2e-5,
            "memory_bytes": 8e9,
        },
    },
    "source": (
        "data sheet, not measured: NVIDIA GeForce RTX 4060 Laptop GPU as listed by FPSBench and CpuTronic (11.61 "
        "TFLOP/s in fp32 and fp16, 256 GB/s, 8 GB); tensor cores left out, bf16 taken as fp16. The laptop's processor "
        f"is an assumption: 8 reference CPUs, 60 GB/s. {ASSUMED}"
    ),
}

DATA_CENTRE: Sheet = {
    "name": "data-centre GPU",
    "cpus": 16,
    "up_mbit_s": 1000,
    "down_mbit_s": 1000,
    "latency_ms": 1,
    "engines": {
        "cpus": {"bytes_per_s": 200e9, "launch_s": 2e-5, "memory_bytes": 256e9},
        "gpu": {
            "macs_per_s": {"fp64": 17e12, "fp32": 33.5e12, "bf16": 494.7e12, "fp16": 494.7e12, "int8": 989.4e12},
            "bytes_per_s": 3.35e12,
            "launch_s": 2e-5,
            "memory_bytes": 80e9,
        },
    },
    "source": (
        "data sheet, not measured: NVIDIA H100 SXM data sheet (TFLOP/s: 34 in fp64, 67 in fp32, 989.4 dense in bf16 "
        "and fp16; 1,978.9 TOPS dense in int8; 3.35 TB/s, 80 GB). The host's processor is an assumption: 16 reference "
        f"CPUs, 200 GB/s. {ASSUMED}"
    ),
}

DATA_SHEETS: tuple[Sheet, ...] = (PHONE, RASPBERRY_PI, JETSON, LAPTOP, DATA_CENTRE)
