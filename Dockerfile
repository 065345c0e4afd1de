# Groundwork on any machine with containers:
#   docker build -t groundwork .
#   docker run -p 7860:7860 -v groundwork:/data -v ./knowledge:/app/knowledge:ro groundwork
# The volume keeps weights, index and what the model has read. On Linux plain torch brings CUDA: a package index with
# PyTorch's CPU builds can be named with --build-arg PIP_EXTRA_INDEX_URL=…
FROM python:3.12-slim
ARG PIP_EXTRA_INDEX_URL=""
# the engine needs GNU's OpenMP
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 reader && mkdir /data && chown reader /data
WORKDIR /app
COPY requirements.txt .
RUN python -m pip install --no-cache-dir -r requirements.txt
COPY app.py README.md LICENSE ./
COPY assistant assistant
COPY knowledge knowledge
USER reader
ENV ASSISTANT_HOST=0.0.0.0 ASSISTANT_CACHE=/data/cache ASSISTANT_INDEX=/data/index
VOLUME /data
EXPOSE 7860
# building the index and fetching the weights takes minutes at the first start; the page says so meanwhile
HEALTHCHECK --start-period=15m --interval=30s --timeout=5s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/healthz', timeout=4)"]
CMD ["python", "app.py"]
