# dtfl-private for CPUs:
#     docker build --tag dtfl-private .
FROM python:3.11-slim

COPY pyproject.toml README.md LICENSE /src/
COPY attacks /src/attacks
COPY defenses /src/defenses
COPY dtfl_private /src/dtfl_private
RUN pip install --no-cache-dir /src && rm -r /src

# Anybody may write here, so that `docker run --user` can name the owner of a mounted folder.
RUN useradd --create-home --uid 1000 dtfl && install --directory --mode 1777 /federated
ENV MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /federated
USER 1000

ENTRYPOINT ["dtfl-private"]
CMD ["--help"]
