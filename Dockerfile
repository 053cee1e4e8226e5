# A worker (or anything else of Proctor) as a container: docker build -t proctor . See docs/operations.md.
# Another Debian with Python 3.11 or newer, its venv and apt: --build-arg BASE=...
ARG BASE=python:3.12-slim-bookworm
FROM $BASE
# What else to install, of pyproject.toml's optional dependencies: --build-arg EXTRAS=lepton,mlflow
ARG EXTRAS=
RUN apt-get update && apt-get install -y --no-install-recommends openssh-client && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/proctor
ENV PATH=/opt/proctor/bin:$PATH
COPY lock/ /tmp/lock/
RUN pip install --no-cache-dir --require-hashes -r /tmp/lock/bootstrap.txt \
 && uv pip install --python /opt/proctor --no-cache --compile-bytecode --require-hashes -r /tmp/lock/run.txt
COPY . /tmp/source
RUN uv pip install --python /opt/proctor --no-cache --no-deps --no-build-isolation /tmp/source \
 && if [ -n "$EXTRAS" ]; then uv pip install --python /opt/proctor --no-cache --no-build-isolation -c /tmp/lock/dev.txt "/tmp/source[$EXTRAS]"; fi \
 && rm -rf /tmp/source /tmp/lock \
 && useradd --create-home --uid 10001 proctor
USER proctor
WORKDIR /home/proctor
ENV DO_NOT_TRACK=1
CMD ["proctor", "worker"]
