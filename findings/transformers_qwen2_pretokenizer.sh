#!/usr/bin/env bash
# transformers 5.23.0 with tokenizers 0.23.3, seen on 2026-11-30 with CPython 3.11.
#
# Surprise: AutoTokenizer of a folder whose config.json says model_type "qwen2" replaces the pre-tokenizer that stands in
# the folder's tokenizer.json by Qwen2's own, without a word: the same file gives other ids than the tokenizers library
# gives for it. With model_type "llama" the file counts. Models that were trained with a tokenizer of their own on the
# Qwen2 architecture are such folders.
#
# Seen: a byte-level tokenizer that keeps numbers whole has an entry "2026"; as llama it is one token, as qwen2 four.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet transformers==5.23.0 tokenizers==0.23.3
cat > "$folder/look.py" <<'PY'
import json
import os
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
tokenizer.decoder = decoders.ByteLevel()
alphabet = pre_tokenizers.ByteLevel.alphabet()
tokenizer.train_from_iterator(["2026"] * 50, trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
print("file", len(tokenizer.encode("2026").ids))
for kind in ("llama", "qwen2"):
    path = os.path.join(sys.argv[1], kind)
    os.makedirs(path)
    tokenizer.save(os.path.join(path, "tokenizer.json"))
    with open(os.path.join(path, "config.json"), "w") as file:
        json.dump({"model_type": kind}, file)
    with open(os.path.join(path, "tokenizer_config.json"), "w") as file:
        json.dump({"tokenizer_class": "PreTrainedTokenizerFast"}, file)
    print(kind, len(AutoTokenizer.from_pretrained(path).encode("2026", add_special_tokens=False)))
PY
said=$("$folder/venv/bin/python" "$folder/look.py" "$folder/models" 2> "$folder/errors" | grep -E "^(file|llama|qwen2) ") || { cat "$folder/errors"; exit 1; }
echo "tokens of \"2026\":"
echo "$said"
[ "$said" = "$(printf 'file 1\nllama 1\nqwen2 4')" ] || { echo "this changed"; exit 1; }
