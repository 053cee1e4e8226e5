# list FOLDER ALL: behind `@list`, `@sums` and `@dirs`, the sizes and the checksums of all files by name and the empty
# folders, NUL behind each; a link counts as the file it leads to. Caches stay unless ALL is given.
list() {
  cd "$1" || { printf '@list\0@gone\0'; exit 0; }
  printf '@list\0'
  names "$2" | xargs -0 -r stat -L --printf '%s %n\0'
  printf '@sums\0'
  names "$2" | xargs -0 -r sha256sum -z
  printf '@dirs\0'
  find . -mindepth 1 -type d -empty ! -path './.proctor*' -print0
}

# names ALL
names() {
  if [ -n "$1" ]; then set --; else set -- -type d -name cache -prune -o; fi
  find . "$@" -xtype f ! -path './.proctor/*' -print0
}
