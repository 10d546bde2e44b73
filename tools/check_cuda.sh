#!/usr/bin/env bash
# Compiles training steps for an H100 that is not there, and prints what each kernel needs at least: `make check-cuda`. Installs CUDA's PJRT
# plug-in and compiler (230 MB of wheels) into build/cuda. With arguments, compiles these files of StableHLO text instead; after each a
# batch size may follow, as step.mlir:256. Minutes of processor time; no GPU and no driver is needed.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=build/cuda
python=.venv/bin/python
[ -x "$python" ] || python=python3
if [ ! -f "$folder/stamp" ]; then
    echo "check_cuda: installing CUDA's plug-in and compiler into $folder"
    rm -rf "$folder"
    mkdir -p "$folder"
    cat >"$folder/requirements.txt" <<'REQUIREMENTS'
jax-cuda13-pjrt==0.11.2 --hash=sha256:e5ff589d43064913bb74027682d89639c7ea48f9f81c2bae6fc75117e913f93e
nvidia-cuda-nvcc==13.0.88 --hash=sha256:56fe502eb77625a12f25172caa3cdddb4e4c8ba2c8c17dba44b164761b380f03
nvidia-nvvm==13.0.88 --hash=sha256:c5f41ffeb6466944a026dfa5317d7d85355c119bbec279205d22f1869d1054e0
REQUIREMENTS
    # Nothing of it is Python that runs here, so the packages need not be for this interpreter.
    "$python" -m pip install --quiet --disable-pip-version-check --no-deps --no-compile --only-binary :all: --require-hashes \
        --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none --platform manylinux_2_27_x86_64 \
        --platform manylinux2014_x86_64 --platform manylinux2010_x86_64 --target "$folder/site" -r "$folder/requirements.txt"
    touch "$folder/stamp"
fi
tools/setup_devices.sh >/dev/null # brings the header
cc -std=c11 -O2 -Wall -Ibuild/devices/xla_plugins/xla_cpu_pjrt/include benchmarks/gpu/aot.c -o "$folder/aot" -ldl

export_step() { # export_step NAME PRECISION BATCH PHASE OPTION...: the text of a training step
    local name=$1 precision=$2 batch=$3 phase=$4
    shift 4
    modules+=("$folder/$name-$precision.mlir:$batch")
    [ -s "$folder/$name-$precision.mlir" ] && [ "$folder/$name-$precision.mlir" -nt build/lib/libmrp.so.0 ] && return
    "$python" benchmarks/gpu/export_step.py "$folder/$name-$precision.mlir" "$phase" matmul_precision="$precision" batch_size="$batch" "$@"
}

modules=("$@")
if [ ${#modules[@]} -eq 0 ]; then
    # Batches for which the run also fits into this machine's memory, where it is planned; time and bytes grow with them.
    vit=(image_size=224 patch_size=16 decoder_width=512 decoder_depth=8 decoder_heads=16)
    export_step mae_vit_base medium 64 pretrain encoder=vit_base "${vit[@]}"
    export_step mae_vit_base high 64 pretrain encoder=vit_base "${vit[@]}"
    export_step mae_vit_large medium 16 pretrain encoder=vit_large "${vit[@]}"
    export_step mae_vit_tiny_32 medium 512 pretrain encoder=vit_tiny
    export_step spark_resnet50 medium 32 pretrain encoder=resnet50 image_size=224 decoder_width=512
    export_step sup_resnet50 medium 64 finetune encoder=resnet50 image_size=224 classes=1000
fi
cuda=$PWD/$folder/site/nvidia/cu13
for module in "${modules[@]}"; do
    file=${module%:*} batch=()
    [ "$file" = "$module" ] || batch=(--batch "${module##*:}")
    dump=$folder/dump/$(basename "$file" .mlir)
    rm -rf "$dump"
    printf '\n== %s\n' "$module"
    # Triton's products and autotuning want a device to choose by.
    TF_CPP_MIN_LOG_LEVEL=2 XLA_FLAGS="--xla_gpu_cuda_data_dir=$cuda --xla_gpu_autotune_level=0 --xla_gpu_enable_triton_gemm=false
        --xla_dump_to=$dump --xla_dump_hlo_as_text" \
        "$folder/aot" "$folder/site/jax_plugins/xla_cuda13/xla_cuda_plugin.so" benchmarks/gpu/h100.txtpb "$file" 2>"$folder/log" ||
        { grep -v '^[IWE]0000' "$folder/log" | tail -20 >&2 && exit 1; }
    "$python" benchmarks/gpu/roofline.py "$dump"/*gpu_after_optimizations.txt "${batch[@]}"
done
