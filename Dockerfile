# docker build -t colorcv .
# docker run --rm --network none --user $(id -u):$(id -g) -v "$PWD":/photos colorcv image old.jpg --model lite
FROM python:3.12-slim
# The headless OpenCV needs no X libraries. colorcv takes any OpenCV that is installed; its metadata
# names opencv-python, so it is installed without its dependencies, which are named here.
RUN pip install --no-cache-dir opencv-python-headless numpy requests platformdirs av
WORKDIR /src
COPY pyproject.toml setup.cfg README.md LICENSE NOTICE ./
COPY colorcv colorcv
RUN pip install --no-cache-dir --no-deps . && rm -r /src/*
# The large model goes here, if it is asked for: mount a volume to keep it.
ENV COLORCV_HOME=/models
RUN mkdir -m 1777 /models
WORKDIR /photos
ENTRYPOINT ["colorcv"]
CMD ["--help"]
