# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What the clients cri and crio have in common: the rows of cri.py, which calls the engine at CRI_SOCKET.

cri_messages() {
	mkdir -p /run/clients/python
	protoc -I "$HERE" --python_out=/run/clients/python cri_api.proto
}

client_reset() {
	cri reset
}

# cri FEATURE: see cri.py, where each call has a limit.
cri() {
	PYTHONPATH=/run/clients/python PYTHONDONTWRITEBYTECODE=1 timeout -k 1 "$((LIMIT * 10))" /usr/bin/python3 "$HERE/cri.py" "$@"
}

for feature in $(sed -n 's/^def row_\([a-z_]*\).*/\1/p' "$HERE/cri.py"); do
	eval "row_$feature() { cri $feature; }"
done
