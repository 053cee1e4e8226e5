# list FOLDER ALL: `CHECKSUM SIZE` and the name of every file, NUL behind each; caches stay unless ALL is given.
list() {
  cd "$1" || { echo "@gone"; exit 0; }
  if [ -n "$2" ]; then set -- -type f; else set -- -type d -name cache -prune -o -type f; fi
  find . "$@" ! -path './.proctor/*' -printf '%s %P\0' | sort -z
  printf '@sums\0'
  find . "$@" ! -path './.proctor/*' -print0 | xargs -0 -r sha256sum -z
}
