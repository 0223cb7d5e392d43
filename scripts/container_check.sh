#!/usr/bin/env bash
# Builds the CPU variant of deploy/Containerfile and runs it as deploy/compose.yaml does, on one photo.
#
#   scripts/container_check.sh [FLAG OF THE BUILDER ...]    # such as --build-arg TORCH_INDEX=URL
#
# Checked: the image builds; the service paints as an unprivileged user without a network, on a root
# file system that is read-only; its health command; SIGTERM; who owns the pictures.
# Without docker or podman it says that it is skipped, and exits with 0; so it does after the build
# where the engine can start no container at all, as in many sandboxes. There podman often works with
# other settings: see docs/container.md.
set -euo pipefail
cd "$(dirname "$0")/.."

engine=
for name in docker podman; do # a docker without its daemon does not hide a podman
  if "$name" info >/dev/null 2>&1; then engine=$name && break; fi
done
if [ -z "$engine" ]; then
  echo "skipped: there is no docker or podman that works here, so the container is not built."
  exit 0
fi
fail() { echo "error: $1" >&2; exit 1; }

image=pipeline:check
folder=$(mktemp -d)
container=
clean_up() {
  [ -z "$container" ] || "$engine" rm -f "$container" >/dev/null
  "$engine" rmi -f "$image" >/dev/null 2>&1 || true
  rm -rf "$folder"
}
trap clean_up EXIT

flags=()
case $("$engine" --version) in podman*) flags+=(--format docker) ;; esac # OCI has no health check
"$engine" build ${flags[@]+"${flags[@]}"} -f deploy/Containerfile -t "$image" "$@" .

# The engine's own failures have the codes 125 to 127, those of the program its own.
code=0
"$engine" run --rm --network none "$image" --version || code=$?
if [ "$code" -ge 125 ]; then
  echo "The image builds. Skipped: $engine can start no container here (see above), so nothing that runs is checked."
  exit 0
fi
[ "$code" = 0 ] || fail "pipeline --version ended with exit code $code"

owner=10001:10001
[ "$(id -u)" = 0 ] || owner=$(id -u):$(id -g)
mkdir "$folder/inbox" "$folder/outbox"
cp inbox/coffee.jpg "$folder/inbox/"
cat > "$folder/config.yaml" <<'END'
styles: {mosaic: {image: "builtin:mosaic"}}
transfer: {size: 96, scales: [96], steps: [10]}
watch: {settle_seconds: 0, scan_seconds: 1}
END
[ "$(id -u)" != 0 ] || chown -R "$owner" "$folder"
chmod 755 "$folder"

container=$("$engine" run -d --init --read-only --tmpfs /tmp --cap-drop ALL \
  --security-opt no-new-privileges --network none --pids-limit 512 --user "$owner" \
  -v "$folder:/data" "$image")
for _ in $(seq 120); do
  [ ! -e "$folder/outbox/coffee--mosaic.png" ] || break
  sleep 1
done
"$engine" logs "$container"
[ -e "$folder/outbox/coffee--mosaic.png" ] || fail "no picture after two minutes"
"$engine" exec "$container" pipeline status --healthy --config /data/config.yaml
"$engine" stop --time 90 "$container" >/dev/null
code=$("$engine" inspect -f '{{.State.ExitCode}}' "$container")
[ "$code" = 0 ] || fail "SIGTERM ended the service with exit code $code instead of 0"
strays=$(find "$folder" ! -uid "${owner%:*}")
[ -z "$strays" ] || fail "files that user $owner does not own: $strays"
echo "The container builds, paints, reports its health, stops, and owns its pictures."
