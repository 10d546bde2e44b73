"""Results of experiments that take hours: a line of JSON for each run, which is not repeated."""

import json
from pathlib import Path
from typing import Any


class Results:
    def __init__(self, output: Path) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self.output, self.path = output, output / "results.jsonl"

    def find(self, **wanted: Any) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []
        return [line for line in lines if line.items() >= wanted.items()]

    def add(self, **values: Any) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(values) + "\n")
        print(json.dumps(values), flush=True)
