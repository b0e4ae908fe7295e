# Two stages: the first installs what the lock file names, with hashes; the second has no compiler or cache.
ARG PYTHON_IMAGE=python:3.12-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /src
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN python -m venv /opt/broker \
 && /opt/broker/bin/pip install --require-hashes -r requirements/runtime.lock \
 && python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY app app
RUN /opt/build/bin/python -m hatchling build -t wheel -d /tmp/wheel \
 && /opt/broker/bin/pip install --no-deps /tmp/wheel/*.whl \
 && /opt/broker/bin/pip uninstall -y pip \
 && /opt/broker/bin/python -m compileall -q /opt/broker/lib

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="ims-token-broker" \
      org.opencontainers.image.description="Hands short-lived Adobe IMS access tokens to internal services" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/broker /opt/broker
# The image's user has no name, no home and no shell; nothing is written but what a setting names.
# No fault handler: its dump of a crash would go past the redaction of the log.
ENV PATH=/opt/broker/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTHONFAULTHANDLER=0 \
    BROKER_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["ims-token-broker"]
CMD ["serve"]
