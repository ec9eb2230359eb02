# cnnstudy on CPUs. `base` is the system that the Dev Container takes; the whole image holds the environment and the repository:
#   docker build --tag cnnstudy . && docker run --name rebuild cnnstudy && docker cp rebuild:/home/cnnstudy/project/report .
FROM python:3.12-slim AS base
# make; git, which DVC needs; bsdextrautils for the `column` of `make help`; openssh-client for remotes behind SSH.
# Debian keeps one version of a package at a time: a pinned one would soon be gone.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bsdextrautils git make openssh-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --shell /bin/bash --uid 1000 cnnstudy \
    && install --directory --owner=cnnstudy --group=cnnstudy /home/cnnstudy/project
USER 1000
WORKDIR /home/cnnstudy/project

FROM base
# gpu for an image with CUDA, see docs/cluster.md
ARG EXTRA=
# The environment comes first: this layer is made again only when one of these files changes.
COPY --chown=cnnstudy:cnnstudy Makefile pyproject.toml requirements.lock requirements-gpu.lock LICENSE ./
RUN mkdir --parents src/cnnstudy && touch README.md src/cnnstudy/__init__.py && PIP_NO_CACHE_DIR=1 make setup EXTRA=$EXTRA
COPY --chown=cnnstudy:cnnstudy . .
# The files just copied may be newer than the environment, which is the same all the same.
RUN make --touch setup EXTRA=$EXTRA
ENV PATH=/home/cnnstudy/project/.venv/bin:$PATH DVC_NO_ANALYTICS=1 MLFLOW_DISABLE_TELEMETRY=true
CMD ["make", "repro"]
