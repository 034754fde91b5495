# The default lock in a container; not built in CI.
#   docker build -t neural-alignment . && docker run --rm -v "$PWD/runs:/work/runs" neural-alignment run demo
FROM python:3.13-slim
RUN apt-get update -qq \
 && apt-get install -y -qq --no-install-recommends libpango-1.0-0 libpangoft2-1.0-0 fonts-dejavu-core \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/neural-alignment
COPY requirements.txt .
RUN pip install --no-cache-dir $(grep -E '^torch(vision)?==' requirements.txt) --constraint requirements.txt \
 && pip install --no-cache-dir --no-deps -r requirements.txt
COPY . .
RUN pip install --no-cache-dir --no-deps .
WORKDIR /work
ENV NALIGN_CACHE=/work/runs/.store
ENTRYPOINT ["nalign"]
