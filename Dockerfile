# All programs in one image: a virtual environment from uv.lock on a plain Python, and nothing that built it.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --build-arg REVISION=$(git rev-parse HEAD) -t ... .
#
# The first stage runs on the machine that builds, whatever it builds for: every dependency comes as a wheel, so another
# architecture needs no emulation. Where a package index or a base image is another one: docs/image.md.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim
ARG BUILD_IMAGE=${PYTHON_IMAGE}

FROM --platform=${BUILDPLATFORM} ${BUILD_IMAGE} AS build
ARG UV_VERSION=0.13.9
ARG TARGETARCH=amd64
# Unchecked: the files of an image do not change, so no start need look whether they have.
ENV UV_COMPILE_BYTECODE=1 PYC_INVALIDATION_MODE=UNCHECKED_HASH \
    UV_LINK_MODE=copy UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_PYTHON=python3 \
    UV_PROJECT_ENVIRONMENT=/opt/subfunction
WORKDIR /src
SHELL ["/bin/sh", "-euc"]
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi; \
    python3 -m venv /opt/uv; \
    /opt/uv/bin/pip install --quiet --no-cache-dir --disable-pip-version-check "uv==${UV_VERSION}"
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY core core
COPY operator operator
COPY deviceplugin deviceplugin
COPY simulator simulator
COPY crds crds
# --locked: what is installed is what uv.lock says, by hash, or nothing.
RUN --mount=type=secret,id=ca \
    if [ -f /run/secrets/ca ]; then export SSL_CERT_FILE=/run/secrets/ca; fi; \
    case "${TARGETARCH}" in \
        amd64) platform=x86_64-manylinux_2_28 ;; \
        arm64) platform=aarch64-manylinux_2_28 ;; \
        *) echo "no wheels are known for ${TARGETARCH}" >&2; exit 1 ;; \
    esac; \
    /opt/uv/bin/uv sync --locked --no-default-groups --extra simulator --no-editable \
        --python-platform "${platform}"; \
    rm /opt/subfunction/.lock

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="subfunction" \
      org.opencontainers.image.description="Sub-functions of SmartNICs as Kubernetes objects: operator, device plugin, simulated node" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/subfunction /opt/subfunction
ENV PATH=/opt/subfunction/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The chart gives agent and device plugin the rights that they need beyond this user's, for the node's folders.
USER 65532:65532
# No entry point: there are several programs, and each is called by its name.
CMD ["subfunction-operator", "--help"]
