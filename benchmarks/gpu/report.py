"""The table of results.jsonl."""

from __future__ import annotations

from typing import Any

BOUNDS = {"highest": 1e-4, "high": 2e-2, "medium": 1e-1}
"""Largest relative difference of a loss within ten steps that passes, by precision; or three times that of the CPU engine's own instruction
sets, where that is more."""


def table(parts: dict[str, dict[str, Any]], batches: dict[str, int], speed: list[tuple[str, str]]) -> str:
    """Everything that is there, in Markdown."""
    about = parts.get("environment", {})
    lines = [f"{about.get('gpu', '')}; {about.get('packages', '')}; device {about.get('device')}", ""]
    lines += parity_rows(parts) + speed_rows(parts, batches, speed) + train_rows(parts)
    failures = [f"- {name}: {part['error']}" for name, part in parts.items() if "error" in part]
    return "\n".join(lines + (["", "Failed:", *failures] if failures else [])) + "\n"


def parity_rows(parts: dict[str, dict[str, Any]]) -> list[str]:
    """Ten steps against the CPU engine."""
    rows = [
        "| ten steps against the CPU engine | precision | loss, largest difference | two instruction sets of the CPU "
        "| weights together | the worst weight | |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, part in parts.items():
        if name.startswith("parity ") and "error" not in part:
            _, case, precision = name.split()
            worst, difference = part["worst"]
            verdict = "ok" if part["loss_difference"] <= max(BOUNDS[precision], 3 * part["engine_difference"]) else "OVER"
            numbers = " | ".join(f"{part[key]:.1e}" for key in ("loss_difference", "engine_difference", "weight_difference"))
            numbers += f" | {difference:.1e} {worst}"
            rows.append(f"| {case} | {precision} | {numbers} | {verdict} |")
    return [*rows, ""] if len(rows) > 2 else []


def speed_rows(parts: dict[str, dict[str, Any]], batches: dict[str, int], speed: list[tuple[str, str]]) -> list[str]:
    """Images per second, memory and first steps beside PyTorch's."""

    def value(name: str, key: str, digits: int = 0, scale: float = 1.0) -> str:
        part = parts.get(name, {})
        if "error" in part:
            return "failed"
        number = part.get(key)
        return "" if number is None else f"{number / scale:,.{digits}f}"

    rows = [
        "| network | batch | precision | libmrp images/s | PyTorch eager | torch.compile | libmrp / compile "
        "| peak memory GiB: libmrp, compile, eager | first step s: cold, from the cache, torch.compile |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for network, precision in speed:
        ours, warm = f"speed {network} {precision}", f"warm {network} {precision}"
        eager, compiled = (f"torch {network} {precision} {mode}" for mode in ("eager", "compile"))
        if not any(name in parts for name in (ours, warm, eager, compiled)):
            continue
        rates = [parts.get(name, {}).get("images_per_second") for name in (ours, compiled)]
        ratio = f"{rates[0] / rates[1]:.2f}" if all(rates) else ""
        memory = ", ".join(value(name, "peak_bytes", 1, 2**30) or "-" for name in (ours, compiled, eager))
        first = ", ".join(value(name, "first_step_seconds", 1) or "-" for name in (ours, warm, compiled))
        numbers = " | ".join(value(name, "images_per_second") for name in (ours, eager, compiled))
        rows.append(f"| {network} | {batches[network]} | {precision} | {numbers} | {ratio} | {memory} | {first} |")
    return [*rows, ""] if len(rows) > 2 else []


def train_rows(parts: dict[str, dict[str, Any]]) -> list[str]:
    """CIFAR-10."""
    part = parts.get("train cifar10", {})
    if "top1" not in part:
        return []
    pretrain, finetune = part["pretrain"], part["finetune"]
    return [
        "| CIFAR-10, ViT-Ti/4 | epochs | seconds | images/s |",
        "|---|---|---|---|",
        f"| MAE | {pretrain['epochs']:g} | {pretrain['seconds']:g} | {pretrain['images_per_second']:,} |",
        f"| fine-tuning, all labels | {finetune['epochs']:g} | {finetune['seconds']:g} | {finetune['images_per_second']:,} |",
        "",
        f"Top-1 {part['top1']:.2f} % after {part['minutes']:g} minutes; published {part['published']} % (2,000 + 100 epochs), "
        f"{part['published_scratch']} % from scratch.",
    ]
