# How images and environments come to a node: once for each, whoever asks at the same time.

# digest_is NAME DIGEST: remember which image really runs.
digest_is() { put "$WORK/digest.$1" "$2"; }

# pull NAME IMAGE: into the engine of this node.
pull() {
  if ! "$RUNTIME" image inspect "$2" >/dev/null 2>&1; then
    once "/tmp/proctor-pull-$(id -u)" "$RUNTIME" pull -q "$2" || { PROBLEM="the image $2 cannot be pulled"; return 1; }
  fi
  digest_is "$1" "$("$RUNTIME" image inspect -f '{{if .RepoDigests}}{{index .RepoDigests 0}}{{else}}{{.Id}}{{end}}' "$2")"
}

# import NAME IMAGE FILE COMMAND...: FILE from an image, by a command that gets a temporary name as its last argument.
import() {
  local name=$1 image=$2 file=$3
  shift 3
  mkdir -p "$CACHE"
  once "$file.lock" import_now "$file" "$@" || { PROBLEM="the image $image cannot be imported"; return 1; }
  digest_is "$name" "$image"
}

import_now() {
  local file=$1 part=$1.part
  shift
  [ ! -e "$file" ] || return 0
  rm -rf "$part"
  "$@" "$part" && mv "$part" "$file"
}

# enroot_import URI OTHER FILE: releases of enroot differ in how they write a digest.
enroot_import() {
  enroot import -o "$3" "$1" || { [ "$1" != "$2" ] && rm -f "$3" && enroot import -o "$3" "$2"; }
}

apptainer_pull() { apptainer pull --force "$2" "$1"; }

charliecloud_pull() { ch-image pull "$1" && ch-convert -o dir "$1" "$2"; }

# environment NAME KEY PACKAGES...: a virtual environment on the shared file system, first on PATH.
environment() {
  local name=$1 folder=$CACHE/env-$2
  shift 2
  folder=$folder$(sources "$@")
  mkdir -p "$CACHE"
  once "$folder.lock" build_environment "$folder" "$@" ||
    { PROBLEM="the environment cannot be built from: $*"; return 1; }
  export VIRTUAL_ENV=$folder PATH=$folder/bin:$PATH
  cp "$folder/environment.txt" "$ROOT/$name/environment.txt"
}

# sources PACKAGES...: what tells another content of those packages that are folders of the cluster.
sources() {
  local package
  for package in "$@"; do
    [ ! -e "$package" ] || find "$package" -type d \( -name build -o -name '*.egg-info' -o -name __pycache__ \) -prune -o \
      -type f -printf '%P %s %T@\n' | sort | cksum | awk '{ printf "-%s", $1 }'
  done
}

build_environment() {
  local folder=$1
  shift
  [ ! -e "$folder/environment.txt" ] || return 0
  rm -rf "$folder"
  python3 -m venv "$folder" &&
    "$folder/bin/python" -m pip install -q --disable-pip-version-check "$@" &&
    "$folder/bin/python" -m pip freeze -q >"$folder/environment.tmp" &&
    mv "$folder/environment.tmp" "$folder/environment.txt"
}
