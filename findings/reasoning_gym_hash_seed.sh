#!/usr/bin/env bash
# reasoning-gym 0.1.25, seen on 2026-11-30 with CPython 3.11.
#
# Surprise: a seed does not make the same entries again in another process. Seven tasks iterate over sets of strings,
# whose order depends on PYTHONHASHSEED, or draw from Python's global random generator, which nobody seeds. Who stores a
# task's name and seed in place of its problems cannot make them again.
#
# Seen, over 15 entries (question, answer and metadata): the tasks named below differ between PYTHONHASHSEED=1 and 2;
# list_functions differs even between two processes with the same hash seed; gcd and chain_sum are always equal.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet reasoning-gym==0.1.25
cat > "$folder/digest.py" <<'PY'
import hashlib
import sys

import reasoning_gym

for name in sys.argv[1:]:
    data = reasoning_gym.create_dataset(name, seed=7, size=15)
    text = "\0".join(repr(data[index]) for index in range(15))
    print(name, hashlib.sha256(text.encode()).hexdigest()[:12])
PY
varying=(knight_swap word_ladder ransom_note isomorphic_strings polynomial_multiplication intermediate_integration)
steady=(gcd chain_sum)
digest() { PYTHONHASHSEED=$1 "$folder/venv/bin/python" "$folder/digest.py" "${@:2}"; }
digest 1 "${varying[@]}" "${steady[@]}" > "$folder/one"
digest 2 "${varying[@]}" "${steady[@]}" > "$folder/two"
status=0
for task in "${varying[@]}" "${steady[@]}"; do
  one=$(grep "^$task " "$folder/one" | cut -d' ' -f2) two=$(grep "^$task " "$folder/two" | cut -d' ' -f2)
  verdict=same; [ "$one" = "$two" ] || verdict=other
  echo "$task: hash seed 1 $one, hash seed 2 $two: $verdict"
  expected=other; case " ${steady[*]} " in *" $task "*) expected=same ;; esac
  [ "$verdict" = "$expected" ] || { echo "  this changed: expected $expected"; status=1; }
done
first=$(digest 1 list_functions) second=$(digest 1 list_functions)
echo "list_functions, twice with hash seed 1: $first, $second"
[ "$first" != "$second" ] || { echo "  this changed: expected other entries"; status=1; }
exit $status
