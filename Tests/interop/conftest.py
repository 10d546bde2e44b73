"""These tests need PyTorch, transformers, timm, onnx and onnxruntime: `make test-interop` runs them with an interpreter that has them."""

import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings" / "python"))
sys.path.insert(0, str(ROOT / "benchmarks" / "peers"))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """The same random weights in every run."""
    torch.manual_seed(0)
