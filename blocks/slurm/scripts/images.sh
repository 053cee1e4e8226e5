# How images and environments come to a node: once for each, whoever asks at the same time.

# digest_is NAME DIGEST: remember which image really runs.
digest_is() { put "$WORK/digest.$1" "$2"; }

# pull NAME IMAGE: into the engine of this node.
pull() {
  if ! "$RUNTIME" image inspect "$2" >/dev/null 2>&1; then
    once "/tmp/proctor-pull-$(id -u)" "$RUNTIME" pull -q "$2" || { PROBLEM="the image $2 cannot be pulled"; return 1; }
  fi
  digest_is "$1" "$("$RUNTIME" image inspect -f '{{range .RepoDigests}}{{println .}}{{end}}{{.Id}}' "$2" | known_as "$2")"
}

# known_as IMAGE: of its digests, one a line, that of its own repository, or else the last line, its id.
known_as() {
  awk -v image="${1%%@*}" '
    function plain(name) { sub(/^(docker\.io\/(library\/)?|localhost\/)/, "", name); return name }
    { split($0, part, "@"); if (own == "" && part[2] != "" && index(plain(image) ":", plain(part[1]) ":") == 1) own = $0 }
    END { print own == "" ? $0 : own }'
}

# import NAME IMAGE FILE COMMAND...: FILE from an image, by a command that gets a temporary name as its last argument.
# What was imported by tag serves one evaluation only; such files are removed when nobody has used them for two weeks.
import() {
  local name=$1 image=$2 file=$3
  shift 3
  mkdir -p "$CACHE"
  once "$file.lock" import_now "$file" "$@" || { PROBLEM="the image $image cannot be imported"; return 1; }
  touch -c "$file"
  find "$CACHE" -maxdepth 1 -name '*.tag-*' -mtime +14 -exec rm -rf {} + 2>/dev/null
  # what a tag meant when it was imported, these runtimes do not tell
  case $image in *@sha256:*) digest_is "$name" "$image" ;; esac
}

# import_now FILE COMMAND...: under a name of this job first, since the locks of some file systems end at the node.
import_now() {
  local file=$1 part=$1.part.$SLURM_JOB_ID
  shift
  [ ! -e "$file" ] || return 0
  rm -rf "$part"
  "$@" "$part" || { rm -rf "$part"; return 1; }
  mv -T "$part" "$file" 2>/dev/null || rm -rf "$part"
  [ -e "$file" ]
}

# enroot_import URI OTHER FILE: releases of enroot differ in how they write a digest.
enroot_import() {
  enroot import -o "$3" "$1" || { [ "$1" != "$2" ] && rm -f "$3" && enroot import -o "$3" "$2"; }
}

apptainer_pull() { apptainer pull --force "$2" "$1"; }

charliecloud_pull() { ch-image pull "$1" && ch-convert -o dir "$1" "$2"; }

# places FOLDER TARGET...: what is mounted in an unpacked image must have its place in it.
places() {
  local folder=$1 target
  shift
  for target in "$@"; do
    [ -e "$folder$target" ] || mkdir -p "$folder$target" ||
      { PROBLEM="the image $folder has no $target to mount at, and it cannot be made"; return 1; }
  done
}

# environment NAME KEY PACKAGES...: a virtual environment on the shared file system, first on PATH. Packages that are lock
# files (*.txt) hold all versions and hashes; those that came with the job lie in its folder.
environment() {
  local name=$1 folder=$CACHE/env-$2 package packages=()
  shift 2
  for package in "$@"; do case $package in lock-*.txt) package=$WORK/$package ;; esac; packages+=("$package"); done
  folder=$folder$(sources "${packages[@]}")
  mkdir -p "$CACHE"
  once "$folder.lock" build_environment "$folder" "${packages[@]}" ||
    { PROBLEM="the environment cannot be built from: $*"; return 1; }
  folder=$(readlink -f "$folder")
  export VIRTUAL_ENV=$folder PATH=$folder/bin:$PATH
  cp "$folder/environment.txt" "$ROOT/$name/environment.txt"
}

# sources PACKAGES...: what tells another content of those packages that are folders of the cluster, or lock files there.
sources() {
  local package
  for package in "$@"; do
    case $package in "$WORK"/lock-*) continue ;; esac
    [ ! -e "$package" ] || find "$package" -type d \( -name build -o -name '*.egg-info' -o -name __pycache__ \) -prune -o \
      -type f -printf '%P %s %T@\n' | sort | cksum | awk '{ printf "-%s", $1 }'
  done
}

# build_environment FOLDER PACKAGES...: in a folder of this job, to which FOLDER then is a link: an environment cannot be
# moved, and the locks of some file systems end at the node.
build_environment() {
  local folder=$1 part=$1.$SLURM_JOB_ID package named=() locks=()
  shift
  [ ! -e "$folder/environment.txt" ] || return 0
  rm -rf "$part"
  for package in "$@"; do case $package in *.txt) locks+=(-r "$package") ;; *) named+=("$package") ;; esac; done
  python3 -m venv "$part" &&
    { [ "${#locks[@]}" -eq 0 ] || pip_install "$part" --no-deps --require-hashes "${locks[@]}"; } &&
    { [ "${#named[@]}" -eq 0 ] || pip_install "$part" ${locks:+--no-deps} "${named[@]}"; } &&
    "$part/bin/python" -m pip freeze -q >"$part/environment.tmp" &&
    mv "$part/environment.tmp" "$part/environment.txt" || { rm -rf "$part"; return 1; }
  [ -e "$folder/environment.txt" ] || rm -rf "$folder"
  ln -sT "${part##*/}" "$folder" 2>/dev/null || rm -rf "$part"
  [ -e "$folder/environment.txt" ]
}

pip_install() { "$1/bin/python" -m pip install -q --disable-pip-version-check "${@:2}"; }
