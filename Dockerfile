# docker build -t colorcv .
# docker run --rm --network none --user $(id -u):$(id -g) -v "$PWD":/photos colorcv image old.jpg --model lite
FROM python:3.12-slim AS build
RUN python -m venv /venv
ENV PATH=/venv/bin:$PATH
# The headless OpenCV needs no display libraries. colorcv runs with any OpenCV that is installed; its
# metadata names opencv-python, so it is installed without its dependencies, which are named here.
RUN pip install --no-cache-dir opencv-python-headless numpy requests platformdirs av
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE NOTICE ./
COPY colorcv colorcv
RUN pip install --no-cache-dir --no-deps . && pip uninstall --yes pip

# Only the finished environment is kept: no sources, no pip, no build files in any layer.
FROM python:3.12-slim
COPY --from=build /venv /venv
ENV PATH=/venv/bin:$PATH COLORCV_HOME=/models
# The large model goes to /models when it is asked for: mount a volume to keep it.
RUN mkdir -m 1777 /models
WORKDIR /photos
ENTRYPOINT ["colorcv"]
CMD ["--help"]
