# A worker (or anything else of Proctor) as a container: docker build -t proctor . See docs/operations.md.
FROM python:3.12-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends openssh-client && rm -rf /var/lib/apt/lists/*
COPY lock/bootstrap.txt lock/run.txt /tmp/lock/
RUN pip install --no-cache-dir --require-hashes -r /tmp/lock/bootstrap.txt -r /tmp/lock/run.txt
COPY . /tmp/source
RUN pip install --no-cache-dir --no-deps --no-build-isolation /tmp/source && rm -rf /tmp/source /tmp/lock \
 && useradd --create-home --uid 10001 proctor
USER proctor
WORKDIR /home/proctor
ENV DO_NOT_TRACK=1 PREFECT_WORKER_QUERY_SECONDS=1 PREFECT_CLIENT_MAX_RETRIES=10
CMD ["prefect", "worker", "start", "--pool", "proctor", "--type", "process"]
