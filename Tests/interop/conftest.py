"""These tests need PyTorch, transformers, timm, onnx and onnxruntime: `make test-interop` runs them with an interpreter that has them."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bindings" / "python"))
sys.path.insert(0, str(ROOT / "benchmarks" / "peers"))
