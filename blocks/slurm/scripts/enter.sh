# enter.sh SCRIPT: run it with the image's own PATH, which some runtimes replace by the caller's.
for file in /etc/environment /ch/environment; do
  path=$(sed -n 's/^PATH=//p' "$file" 2>/dev/null | tail -n 1 | tr -d '"')
  [ -z "$path" ] || PATH=$path:$PATH
done
for folder in /usr/local/sbin /usr/local/bin /usr/sbin /usr/bin /sbin /bin /opt/venv/bin /opt/*/bin /root/.local/bin; do
  [ ! -d "$folder" ] || PATH=$PATH:$folder
done
export PATH
exec sh "$1"
