# The sandbox as a container: docker build -t ninebits-sandbox . && docker run -p 2081:2081 ninebits-sandbox
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/sandbox
COPY pyproject.toml README.md CHANGELOG.md ./
COPY templates templates
COPY sandbox sandbox
RUN /opt/sandbox/bin/pip install --no-cache-dir --disable-pip-version-check . \
 && /opt/sandbox/bin/python -m compileall -q /opt/sandbox/lib

FROM python:3.13-slim
# A fixed number, so that a mounted folder can be given to it: chown 10001 FOLDER
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin sandbox \
 && mkdir /data && chown sandbox /data
COPY --from=build /opt/sandbox /opt/sandbox
ENV PATH=/opt/sandbox/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NINEBITS_SANDBOX_HOST=0.0.0.0 \
    NINEBITS_SANDBOX_DB=/data/sandbox.db
WORKDIR /data
VOLUME /data
USER sandbox
EXPOSE 2081
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --retries=3 CMD ["ninebits-sandbox", "ready"]
ENTRYPOINT ["ninebits-sandbox"]
CMD ["serve"]
