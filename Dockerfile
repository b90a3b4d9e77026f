# The locked environment for a pipeline on an NVIDIA GPU, without the project and its data: docs/gpu.md builds and runs it.
# A tag can be moved. To pin the base to the byte, write what `docker buildx imagetools inspect python:3.11-slim-bookworm` prints
# as its digest behind the tag: python:3.11-slim-bookworm@sha256:...
FROM python:3.11-slim-bookworm

# Debian keeps only the newest version of a package, so a version named here would soon be unavailable.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/*

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/transfer
COPY Makefile requirements.txt ./
COPY tools/install.py tools/uv.txt tools/
COPY .dvc/config .dvc/
RUN make .venv/installed
COPY requirements/gpu.txt requirements/s3.txt requirements/
RUN make .venv/extra-gpu .venv/extra-s3

# The user's own number, so that files in a mounted checkout belong to the user.
ARG UID=1000
RUN useradd --create-home --uid "$UID" person && install -d -m 700 -o person /home/person/site /project
# DVC unpickles files in its site_cache_dir, so nobody else may write there; this overrides the folder in .dvc/config.local.
ENV PATH=/opt/transfer/.venv/bin:$PATH DVC_SITE_CACHE_DIR=/home/person/site
USER $UID
WORKDIR /project
CMD ["dvc", "repro"]
