#!/usr/bin/env bash
# Line coverage of Sources by the Swift tests. The toolchain's own llvm-cov reads the profile; another version would refuse it.
set -euo pipefail
cd "$(dirname "$0")/.."
scratch=${SCRATCH:-.build}/coverage
swift test --enable-code-coverage --scratch-path "$scratch" -Xswiftc -O
bin=$(swift build --show-bin-path --scratch-path "$scratch")
"$(dirname "$(readlink -f "$(command -v swift)")")/llvm-cov" report "$bin/mrpPackageTests.xctest" \
    -instr-profile "$bin/codecov/default.profdata" -ignore-filename-regex '(\.build|Tests)/' |
    awk '{print $1, $(NF - 3)}' | column -t
