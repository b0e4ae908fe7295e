# Three stages. `wheel` builds the program; its tools are not in the other stages. `rootfs` installs the packages of requirements/otel.lock
# and aws.lock, with hashes, and copies into /rootfs only what the program needs at run time: interpreter, packages, their shared
# libraries (found with ldd, so that any Debian release works), CA certificates. The last stage starts from scratch and contains only that
# folder, in one layer: no shell, no package manager, no pip, no setuid file, and nothing to update that is not used.
# The base image must have glibc, Debian packages and Python 3.11 or newer. Pin yours by digest: --build-arg PYTHON_IMAGE=…@sha256:…
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS wheel
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY requirements/build.lock requirements/
RUN python -m venv /opt/build && /opt/build/bin/pip install --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
# The earliest time that a zip archive can store; a release passes the time of its commit.
ARG SOURCE_DATE_EPOCH=315532800
RUN SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH}" /opt/build/bin/python -m hatchling build -t wheel -d /wheel

FROM ${PYTHON_IMAGE} AS rootfs
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_COMPILE=1
WORKDIR /src
COPY requirements/otel.lock requirements/aws.lock requirements/
RUN python -m venv --without-pip /opt/broker \
 && python -m pip --python /opt/broker/bin/python install --require-hashes -r requirements/otel.lock -r requirements/aws.lock
COPY --from=wheel /wheel /wheel
COPY deploy/image/rootfs.py LICENSE ./
ARG SOURCE_DATE_EPOCH=315532800
RUN python -m pip --python /opt/broker/bin/python install --no-index --no-deps /wheel/*.whl \
 && python rootfs.py --venv /opt/broker --license LICENSE --epoch "${SOURCE_DATE_EPOCH}" /rootfs

FROM scratch
COPY --from=rootfs /rootfs /
# The program writes only to paths that a setting names, and `dev` to a folder below /tmp. PYTHONSAFEPATH: never import from the working
# directory. No fault handler: its crash dump would bypass the redaction of the log.
ENV PATH=/opt/broker/bin:/usr/local/bin \
    LANG=C.UTF-8 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=0 PYTHONSAFEPATH=1 \
    BROKER_HOST=0.0.0.0
WORKDIR /
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
# Kubernetes ignores this and uses its own probes.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["ims-token-broker", "health"]
ENTRYPOINT ["ims-token-broker"]
CMD ["serve"]
# Last, so that another revision can reuse the layers above.
ARG VERSION="" REVISION="" CREATED="" SOURCE=""
LABEL org.opencontainers.image.title="ims-token-broker" \
      org.opencontainers.image.description="Hands short-lived Adobe IMS access tokens to internal services" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}"
