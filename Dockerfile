# Two images: `indexer`, with TensorFlow, and `service`, without. Each holds a virtual environment and our packages.

FROM python:3.11-slim AS service-packages
# Where pip looks, if not where it is configured to.
ARG PIP_INDEX_URL
# More of pyproject.toml's extras, for both images: "milvus", "parquet", or both.
ARG EXTRAS
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# The dependencies alone, so that a change of the code installs nothing again.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import os, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; extras = [one for name in os.environ.get('EXTRAS', '').split() for one in project['optional-dependencies'][name]]; print(*project['dependencies'], *extras, sep='\n')" \
        > service.txt \
    && python -m venv --without-pip /venv \
    && pip --python /venv/bin/python install --disable-pip-version-check -c constraints.txt -r service.txt

FROM service-packages AS indexer-packages
# TensorFlow's headers are for building against it.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['optional-dependencies']['indexer'], sep='\n')" \
        > indexer.txt \
    && pip --python /venv/bin/python install --disable-pip-version-check -c constraints.txt -r indexer.txt \
    && rm -r /venv/lib/python3.*/site-packages/tensorflow/include

FROM service-packages AS sample
COPY examples /parecido/examples
RUN PYTHONPATH=/parecido /venv/bin/python -m examples.sample_catalogue --out /sample && rm -r /sample/queries

FROM python:3.11-slim AS base
# A new named volume takes the owner of the directory that it is mounted on.
RUN useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin parecido \
    && install --directory --owner=parecido --group=parecido /data /feedback
# Besides volumes only /tmp can be written: Keras and Matplotlib keep their files in the home directory.
ENV PATH=/venv/bin:$PATH HOME=/tmp PYTHONPATH=/parecido PYTHONSAFEPATH=1 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# The indexer's data directory is `data` where it is not told another one.
WORKDIR /

FROM base AS indexer
COPY --from=indexer-packages /venv /venv
COPY --from=sample /sample /catalogue
COPY shared /parecido/shared
COPY indexer /parecido/indexer
RUN python -m compileall -q /parecido
USER 10001:10001
ENTRYPOINT ["python", "-m", "indexer"]
CMD ["--help"]

FROM base AS service
COPY --from=service-packages /venv /venv
COPY shared /parecido/shared
COPY search_service /parecido/search_service
RUN python -m compileall -q /parecido
ENV PARECIDO_DATA=/data PARECIDO_HOST=0.0.0.0 PARECIDO_PORT=8080
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=4s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
CMD ["python", "-m", "search_service"]
