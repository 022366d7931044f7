# syntax=docker/dockerfile:1
# One image for every garrison command; compose.yaml says who runs what.

FROM python:3.11-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/garrison
WORKDIR /build
# First what seldom changes: every dependency at its locked version, each file checked against its hash.
COPY requirements/server.txt requirements/
RUN /opt/garrison/bin/pip install --require-hashes -r requirements/server.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/garrison/bin/pip install --no-deps --no-build-isolation .

FROM python:3.11-slim
COPY --from=build /opt/garrison /opt/garrison
# A named volume takes over the owner and mode of the folder that it is first mounted on.
RUN groupadd --gid 10001 garrison \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin garrison \
 && install --directory --owner=10001 --group=10001 --mode=0700 /state /mcp /edge
ENV PATH=/opt/garrison/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# Asks the server in this container for its public metadata, by its public name.
ENV HEALTH_HOST=localhost HEALTH_PORT=8080 HEALTH_PATH=/.well-known/oauth-authorization-server
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['HEALTH_PORT']), timeout=3); c.request('GET', os.environ['HEALTH_PATH'], headers={'Host': os.environ['HEALTH_HOST']}); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["garrison"]
CMD ["--help"]
