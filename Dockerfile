# The suite with the versions that its results were made with. CPU by default; for CUDA:
#   docker build --build-arg TORCH=https://download.pytorch.org/whl/cu130 .
FROM python:3.11-slim
ARG TORCH=https://download.pytorch.org/whl/cpu
WORKDIR /work
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY baselines baselines
COPY benchmark benchmark
COPY tasks tasks
RUN pip install --no-cache-dir -c constraints.txt --extra-index-url "$TORCH" -e '.[slurm,visualise]'
ENTRYPOINT ["python", "-m", "benchmark"]
CMD ["--help"]
