# syntax=docker/dockerfile:1
FROM python:3.12.12-slim-bookworm AS build
# Machine code for any CPU of the architecture: the image is built on one and runs on others.
ENV NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= \
    PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    UV_NO_CACHE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
RUN pip install uv==0.13.9 && uv venv --python "$(command -v python3)" /opt/astray
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY src src
COPY models models
# Bytecode and kernels are made here: where the image runs, its root is read-only.
RUN uv pip install --compile-bytecode --python /opt/astray/bin/python '.[postgres]'
RUN /opt/astray/bin/python -c "from astray.flow.kernels import compile_kernels; compile_kernels()"

FROM python:3.12.12-slim-bookworm
# The kernels are found under the settings they were compiled with.
ENV NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES= PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /opt/astray /opt/astray
RUN useradd --uid 10001 --no-create-home --home-dir /nonexistent astray \
    && install --directory --owner astray --group astray /data
USER 10001:10001
# State, case store and alerts: relative paths lie here.
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM
ENTRYPOINT ["/opt/astray/bin/astray"]
CMD ["--help"]
